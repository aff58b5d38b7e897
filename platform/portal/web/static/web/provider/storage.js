// What this browser keeps between visits: keys, pins, and uploads that are not finished. IndexedDB, of this origin only.
//
// Nothing in it is a patient's value in clear: keys cannot be exported, and an upload is kept sealed. A store is
// { get, put, delete, entries }, each of a kind and a key; other stores of this form serve as well.

const NAME = "fourfold-provider";
const KINDS = ["keys", "pins", "uploads", "chunks"];

/** The store of this browser. */
export function openStore(factory = indexedDB) {
  const database = new Promise((resolve, reject) => {
    const opening = factory.open(NAME, 1);
    opening.onupgradeneeded = () => KINDS.forEach((kind) => opening.result.createObjectStore(kind));
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
  const run = async (kind, mode, ask) => {
    const transaction = (await database).transaction(kind, mode);
    const request = ask(transaction.objectStore(kind));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(request.result);
      transaction.onerror = () => reject(transaction.error ?? request.error);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  };
  return {
    get: (kind, key) => run(kind, "readonly", (store) => store.get(key)),
    put: (kind, key, value) => run(kind, "readwrite", (store) => store.put(value, key)),
    delete: (kind, key) => run(kind, "readwrite", (store) => store.delete(key)),
    entries: async (kind) => {
      const keys = await run(kind, "readonly", (store) => store.getAllKeys());
      const values = await run(kind, "readonly", (store) => store.getAll());
      return keys.map((key, n) => [key, values[n]]);
    },
  };
}
