import { assert, present } from '@heddle/core';
import { BYTES_PER_ELEMENT, type DType, elementCount } from '@heddle/tensor';
import protobuf from 'protobufjs/light.js';
import { ONNX_DESCRIPTOR } from './gen/onnx-descriptor.ts';
import type { Attribute, Constant, Graph, NamedValue, Node, Weight } from './graph.ts';

/** Opset 21 has every op of the builder; IR 10 is the version that came with it (ONNX 1.16), and ORT 1.30 reads both. */
const OPSET_VERSION = 21;
const IR_VERSION = 10;

/** onnx.TensorProto.DataType. */
const DATA_TYPE: Readonly<Record<DType, number>> = {
  f32: 1,
  u8: 2,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  bf16: 16,
};

/** onnx.AttributeProto.AttributeType. */
const ATTRIBUTE_TYPE = { FLOAT: 1, INT: 2, STRING: 3, TENSOR: 4, INTS: 7 } as const;

const ModelProto = protobuf.Root.fromJSON(ONNX_DESCRIPTOR).lookupType('onnx.ModelProto');

/**
 * The graph as the bytes of an ONNX model (opset 21). Float constants are rounded to their dtype here and nowhere before;
 * weights are references (file, offset, length) to external data, so that the bytes stay small whatever the model.
 */
export function encodeModel(graph: Graph): Uint8Array {
  const model = {
    ir_version: IR_VERSION,
    producer_name: 'heddle',
    opset_import: [{ domain: '', version: OPSET_VERSION }],
    graph: {
      name: graph.name,
      node: graph.nodes.map(encodeNode),
      initializer: [...graph.constants.map(encodeConstant), ...graph.weights.map(encodeWeight)],
      input: graph.inputs.map(encodeValue),
      output: graph.outputs.map(encodeValue),
    },
  };
  return ModelProto.encode(ModelProto.create(model)).finish();
}

/** The message tree of encoded bytes, for tests and for people who look inside. */
export function decodeModel(bytes: Uint8Array): { readonly [field: string]: unknown } {
  return ModelProto.toObject(ModelProto.decode(bytes), { longs: Number, enums: String });
}

function encodeNode(node: Node) {
  return {
    name: node.name,
    op_type: node.op,
    input: node.inputs,
    output: node.outputs,
    attribute: Object.entries(node.attributes).map(([name, value]) => encodeAttribute(name, value)),
  };
}

function encodeAttribute(name: string, value: Attribute) {
  if (typeof value === 'number') return { name, type: ATTRIBUTE_TYPE.INT, i: value };
  if (typeof value === 'string') {
    // Only Cast's target is an element type; ONNX wants its number.
    if (name === 'to') return { name, type: ATTRIBUTE_TYPE.INT, i: DATA_TYPE[value as DType] };
    return { name, type: ATTRIBUTE_TYPE.STRING, s: new TextEncoder().encode(value) };
  }
  if ('float' in value) return { name, type: ATTRIBUTE_TYPE.FLOAT, f: value.float };
  if (!Array.isArray(value) && 'fill' in value) {
    const raw_data = bytesOf(value.dtype, Float64Array.of(value.fill));
    const t = { dims: [1], data_type: DATA_TYPE[value.dtype], raw_data };
    return { name, type: ATTRIBUTE_TYPE.TENSOR, t };
  }
  return { name, type: ATTRIBUTE_TYPE.INTS, ints: value };
}

function encodeConstant({ name, dtype, shape, data }: Constant) {
  return { name, dims: shape, data_type: DATA_TYPE[dtype], raw_data: bytesOf(dtype, data) };
}

function encodeWeight({ name, dtype, shape, location }: Weight) {
  const bytes = elementCount(shape as number[]) * BYTES_PER_ELEMENT[dtype];
  assert(bytes === location.length, () => `${name}: ${location.length} bytes, not ${bytes}`);
  return {
    name,
    dims: shape,
    data_type: DATA_TYPE[dtype],
    data_location: 1,
    external_data: [
      { key: 'location', value: location.file },
      { key: 'offset', value: `${location.offset}` },
      { key: 'length', value: `${location.length}` },
    ],
  };
}

function encodeValue({ name, dtype, shape }: NamedValue) {
  const dim = shape.map((n) => (typeof n === 'number' ? { dim_value: n } : { dim_param: n }));
  return { name, type: { tensor_type: { elem_type: DATA_TYPE[dtype], shape: { dim } } } };
}

const NARROW: Partial<Record<DType, (data: Float64Array) => ArrayBufferView>> = {
  f32: (data) => Float32Array.from(data),
  f64: (data) => data,
  i64: (data) => BigInt64Array.from(data, BigInt),
  i32: (data) => Int32Array.from(data),
  u8: (data) => Uint8Array.from(data),
  bool: (data) => Uint8Array.from(data),
};

/** Little-endian, as every machine that ORT runs on is. */
function bytesOf(dtype: DType, data: Float64Array): Uint8Array {
  const narrow = present(NARROW[dtype], `an encoding of ${dtype} constants`)(data);
  return new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength);
}
