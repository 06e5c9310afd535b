/** A type that must not be mixed with its base type; minted only by its parser or by `runtime/`. */
export type Brand<T, Name extends string> = T & { readonly __brand: Name }
