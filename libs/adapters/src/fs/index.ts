export { CachedBlobs, type CachedBlobsOptions } from './cached-blobs.ts';
export { DirectoryBlobs, type DirectoryBlobsOptions } from './directory-blobs.ts';
