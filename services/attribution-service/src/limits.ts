/** Sources in a summary, which is shown whole; the artifact has all of them. */
export const SOURCES_SHOWN = 4_096;
