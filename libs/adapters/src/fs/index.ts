export { DirectoryBlobs, type DirectoryBlobsOptions } from './directory-blobs.ts';
