/** How late a rotated certificate is noticed. Kubernetes swaps a link, which file watching misses on some file systems. */
export const TLS_POLL_MS = 2_000;

/** A file of certificates: a few chains are some KiB; a path that names something else must not fill the memory. */
export const TLS_FILE_BYTES_MAX = 1024 * 1024;

/** cert-manager renews at two thirds of a certificate's life; one that ends so soon was not renewed. */
export const TLS_EXPIRY_WARN_MS = 24 * 3600 * 1000;
