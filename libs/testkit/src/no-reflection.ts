/**
 * `@peculiar/x509` is put together by tsyringe, which wants metadata of constructors' parameters. None of its classes has
 * any, so "there is none" is the whole of the answer, and no polyfill is installed for it.
 */
Object.assign(Reflect, {
  getMetadata: () => undefined,
  getOwnMetadata: () => undefined,
  defineMetadata: () => undefined,
});
