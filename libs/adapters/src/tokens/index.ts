export {
  type IssueOptions,
  issueToken,
  makeTokenKey,
  TOKEN_DEFAULTS,
  type TokenKey,
} from './issue-token.ts';
export { type JwtOptions, JwtTokens, ROLES } from './jwt-tokens.ts';
export { TOKEN_DAYS_MAX } from './limits.ts';
