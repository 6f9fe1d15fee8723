export {
  type IssueOptions,
  issueToken,
  makeTokenKey,
  type TokenKey,
} from './issue-token.ts';
export { type JwtOptions, JwtTokens } from './jwt-tokens.ts';
export { TOKEN_DAYS_MAX } from './limits.ts';
