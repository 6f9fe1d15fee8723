/** Of all of Heddle, as the packages have it: in provenance, and in errors between a client and a server of different ones. */
export const VERSION = '0.1.0';
