/** A value as YAML: block style, strings quoted where YAML would read something else. Enough for what stands here. */
export function yaml(value: unknown, indent = ''): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return ' []\n';
    return `\n${value.map((item) => `${indent}- ${nested(item, `${indent}  `)}`).join('')}`;
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    if (entries.length === 0) return ' {}\n';
    const lines = entries.map(([key, item]) => `${indent}${key}:${yaml(item, `${indent}  `)}`);
    return `\n${lines.join('')}`;
  }
  return ` ${scalar(value)}\n`;
}

/** After `- `: the first line stands beside the dash. */
function nested(item: unknown, indent: string): string {
  return yaml(item, indent).trimStart();
}

function scalar(value: unknown): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z][A-Za-z0-9./-]*$/.test(value) &&
    !/^(yes|no|on|off|true|false|null|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);
}
