// What a column's name says of it: its words, and what words of hospitals' headers usually mean.
//
// A hint and never a proof: whatever is concluded from a name is shown to a person.

import { casefold, strip } from "./text.js";

const set = (text) => new Set(text.split(" "));
const WORD = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|%/g;
export const PATIENT = set(
  "patient pat patientid patid subject subj subjid usubjid participant proband person mask maskid pid ptid",
);
export const IDENTIFIER = set("id ident identifier key uid record case code number no nr");
export const SITE = set("site siteid centre center clinic hospital country");
export const PERSONAL = set(
  "email mail phone telephone mobile fax address street surname firstname lastname initials postcode zip zipcode " +
    "ssn nhs mrn passport",
);
export const BIRTH = set("birth dob birthdate birthday brthdtc brthdt");
export const MEASURE = set(
  "age time days day months weeks years dur duration count dose size weight height bmi score value result temp " +
    "temperature pulse visit",
);
export const ORDER = set("visit visitnum vis day dy date dat dt dtc week month cycle time tpt seq");
export const DEATH = set("dead died deceased");
export const FOLLOW_UP = set("fu futime fup followup follow");
export const TIME = set("time tt tte days months weeks years dur duration survival");
export const PERCENT = set("percent pct perc percentage %");

/** The words of a header, in lower case: TT_EVENT and ttEvent are both tt and event. */
export function words(header) {
  const found = (header.normalize("NFKD").match(WORD) ?? []).map(casefold);
  return new Set([...found, found.join("")]);
}

/** Whether two sets of words share one. */
export function share(some, others) {
  for (const word of some) if (others.has(word)) return true;
  return false;
}

/** Whether a header says that the column is a key, even where its values come several times. */
export function namesKey(header) {
  const own = words(header);
  return share(own, PATIENT) || (!share(own, SITE) && (own.has("id") || casefold(strip(header)).endsWith("id")));
}

export function isIdentifier(header) {
  return namesKey(header) || share(words(header), IDENTIFIER);
}

export function ofDeath(named) {
  return share(named, DEATH) || [...named].some((word) => word.startsWith("death") || word.startsWith("dth"));
}
