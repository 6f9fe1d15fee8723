export {
  type ByteSource,
  type CorpusDocument,
  type CorpusFile,
  type CorpusFormat,
  type CorpusPlace,
  type CorpusRange,
  corpusFormat,
} from './corpus-file.ts';
export { type FileIndex, indexCorpusFile } from './index-file.ts';
export { readDocuments } from './read-documents.ts';
