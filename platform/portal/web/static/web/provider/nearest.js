// What a person may have meant: the closest of some texts, as difflib of Python finds them.
//
// Ratcliff and Metzener, Dr. Dobb's Journal, July 1988: twice the matching characters over all characters.

import { casefold, compare, head } from "./text.js";

const MOST_CANDIDATES = 2000;
const LONGEST = 60;
const POPULAR = 200; // from this length on, characters that are everywhere do not count

/** Up to three candidates that look like `text`, compared in normal form. */
export function nearest(text, candidates, normal = casefold) {
  const byForm = new Map();
  let looked = 0;
  for (const candidate of candidates) {
    if (looked++ === MOST_CANDIDATES) break;
    const form = normal(candidate);
    if (!byForm.has(form)) byForm.set(form, candidate);
  }
  return closeMatches(normal(head(text, LONGEST)), byForm.keys(), 3, 0.6).map((form) => byForm.get(form));
}

/** The best `most` of the texts whose likeness to `word` is at least `cutoff`, best first. */
export function closeMatches(word, texts, most, cutoff) {
  const sought = new Sought(word);
  const found = [];
  for (const text of texts) {
    const ratio = sought.ratio(text, cutoff);
    if (ratio >= cutoff) found.push([ratio, text]);
  }
  found.sort((a, b) => b[0] - a[0] || compare(b[1], a[1]));
  return found.slice(0, most).map(([, text]) => text);
}

class Sought {
  constructor(word) {
    this.b = Array.from(word);
    this.places = new Map();
    this.b.forEach((char, place) => {
      if (!this.places.has(char)) this.places.set(char, []);
      this.places.get(char).push(place);
    });
    if (this.b.length >= POPULAR) {
      const many = Math.floor(this.b.length / 100) + 1;
      for (const [char, places] of this.places) if (places.length > many) this.places.delete(char);
    }
  }

  ratio(text, cutoff) {
    const a = Array.from(text);
    const total = a.length + this.b.length;
    if (total === 0) return 1;
    // No need to look closer at what cannot be close.
    if ((2 * Math.min(a.length, this.b.length)) / total < cutoff) return 0;
    return (2 * this.matching(a, 0, a.length, 0, this.b.length)) / total;
  }

  matching(a, fromA, toA, fromB, toB) {
    let count = 0;
    const open = [[fromA, toA, fromB, toB]];
    while (open.length) {
      const [lowA, highA, lowB, highB] = open.pop();
      const [i, j, size] = this.longest(a, lowA, highA, lowB, highB);
      if (!size) continue;
      count += size;
      if (lowA < i && lowB < j) open.push([lowA, i, lowB, j]);
      if (i + size < highA && j + size < highB) open.push([i + size, highA, j + size, highB]);
    }
    return count;
  }

  longest(a, lowA, highA, lowB, highB) {
    let [bestI, bestJ, best] = [lowA, lowB, 0];
    let lengths = new Map();
    for (let i = lowA; i < highA; i++) {
      const next = new Map();
      for (const j of this.places.get(a[i]) ?? []) {
        if (j < lowB) continue;
        if (j >= highB) break;
        const k = (lengths.get(j - 1) ?? 0) + 1;
        next.set(j, k);
        if (k > best) [bestI, bestJ, best] = [i - k + 1, j - k + 1, k];
      }
      lengths = next;
    }
    // Characters that are everywhere may still lengthen a match.
    while (bestI > lowA && bestJ > lowB && a[bestI - 1] === this.b[bestJ - 1]) {
      [bestI, bestJ, best] = [bestI - 1, bestJ - 1, best + 1];
    }
    while (bestI + best < highA && bestJ + best < highB && a[bestI + best] === this.b[bestJ + best]) best += 1;
    return [bestI, bestJ, best];
  }
}
