// A store as of storage.js that lives in memory.

export function memoryStore() {
  const kinds = new Map();
  const of = (kind) => {
    if (!kinds.has(kind)) kinds.set(kind, new Map());
    return kinds.get(kind);
  };
  return {
    get: async (kind, key) => of(kind).get(key),
    put: async (kind, key, value) => void of(kind).set(key, value),
    delete: async (kind, key) => void of(kind).delete(key),
    entries: async (kind) => [...of(kind)],
  };
}
