// HPKE (RFC 9180) over WebCrypto: what seals a bundle to a party.
export { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
