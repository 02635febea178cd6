// JSON with whole numbers of any size, such as seeds: those beyond 2^53 become BigInts.

const BIG = /"(?:[^"\\]|\\.)*"|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/g;

export function parse(text) {
  const marked = text.replace(BIG, (part) => (part[0] === '"' ? part : `{"\\u0000":"${part}"}`));
  return JSON.parse(marked, (_, value) => (value && typeof value === "object" && "\0" in value ? BigInt(value["\0"]) : value));
}

export function write(value) {
  const text = JSON.stringify(value, (_, each) => (typeof each === "bigint" ? `\0${each}` : each));
  return text.replace(/"\\u0000(-?\d+)"/g, "$1");
}
