import { type Details, invalidArgument, type OperationError } from '@heddle/core';

/** A field of the request that is wrong, and how. */
export const refuse = (field: string, message: string, details: Details = {}): OperationError =>
  invalidArgument(`${field}: ${message}`, { field, details });
