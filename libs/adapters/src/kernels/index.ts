export { WasmKernels, type WasmKernelsOptions } from './wasm-kernels.ts';
