export { createTokenizer, loadTokenizer, type TokenizerTexts } from './tokenizer.ts';
