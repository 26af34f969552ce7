/**
 * TLS: whom a client trusts, how it shows who it is itself, and what went wrong, in words. For Node; no sockets.
 *
 * TLS 1.2 or newer. Who asks for it never gets less.
 */

import { createHash, timingSafeEqual, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { createSecureContext, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Address } from "./address.js";
import { ConnectError } from "./errors.js";
import type { Tls } from "./transport.js";

/** What a connection with TLS needs. */
export interface Security {
  readonly options: ConnectionOptions;
  /** The SHA-256 of the only certificate that is trusted. `undefined`: that is for OpenSSL to decide. */
  readonly digest: Buffer | undefined;
}

/**
 * The digest in a pin.
 *
 * @throws RangeError
 */
export function digestOf(pin: string): Buffer {
  const found = /^sha256:([0-9a-f]{64})$/.exec(
    pin
      .trim()
      .toLowerCase()
      .replace(/(?<!^sha256):/g, ""),
  );
  if (!found?.[1]) throw new RangeError(`tls: pin is '${pin}'; it is sha256: and 64 hexadecimal digits`);
  return Buffer.from(found[1], "hex");
}

/**
 * Looks whether the options make sense.
 *
 * @throws RangeError for a pin that is none, and for what contradicts itself.
 */
export function checkTls(tls: Tls): void {
  if (tls.pin) {
    digestOf(tls.pin);
    if (tls.ca) throw new RangeError("tls: give ca or pin; a pinned certificate is trusted whoever signed it");
  }
  if (tls.key && !tls.certificate) throw new RangeError("tls: key without certificate");
}

/** Makes ready for an address. Rejects with `ConnectError` where a file cannot be used, with its name and why. */
export async function securityOf(tls: Tls, address: Address): Promise<Security> {
  const options: ConnectionOptions = { minVersion: "TLSv1.2" };
  // OpenSSL knows no zones of IPv6 addresses.
  const host = address.host.replace(/%.*$/, "").replace(/\.$/, "");
  options.host = host;
  if (!isIP(host)) options.servername = host;
  if (address.webSocket) options.ALPNProtocols = ["http/1.1"]; // else a proxy may speak HTTP/2
  let digest: Buffer | undefined;
  if (tls.pin) {
    digest = digestOf(tls.pin);
    options.rejectUnauthorized = false; // `objection` has the last word
  }
  const read = async (field: keyof Tls): Promise<Buffer | undefined> => {
    const path = tls[field];
    if (!path) return undefined;
    try {
      return await readFile(path);
    } catch (error) {
      throw cannotUse(address, field, path, error);
    }
  };
  const [ca, certificate, key] = [await read("ca"), await read("certificate"), await read("key")];
  if (ca) {
    try {
      new X509Certificate(ca);
      options.ca = ca;
    } catch (error) {
      throw cannotUse(address, "ca", tls.ca ?? "", error);
    }
  }
  if (certificate) {
    try {
      options.secureContext = createSecureContext({
        cert: certificate,
        key: key ?? certificate,
        ...(ca && { ca }),
        minVersion: "TLSv1.2",
      });
    } catch (error) {
      const field = tls.key ? "key" : "certificate";
      throw cannotUse(address, field, tls[field] ?? "", error);
    }
  }
  return { options, digest };
}

/** Why the peer is not to be trusted, where that was left to us. Empty: it is. */
export function objection(security: Security, socket: TLSSocket): string {
  if (!security.digest) return "";
  const told = socket.getPeerCertificate().raw as Buffer | undefined;
  const found = createHash("sha256")
    .update(told ?? Buffer.alloc(0))
    .digest();
  if (timingSafeEqual(found, security.digest)) return "";
  return (
    `the server's certificate is sha256:${found.toString("hex")}, pinned is ` +
    `sha256:${security.digest.toString("hex")}; if the server has got a new one, pin that, else somebody stands between`
  );
}

/** What went wrong in a handshake, and what to do. */
export function whyNoHandshake(error: Error, address: Address): string {
  const plain = address.scheme.slice(0, -1);
  const code = codeOf(error);
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return "the server's certificate has expired; the server needs a new one";
    case "CERT_NOT_YET_VALID":
      return "the server's certificate is not valid yet; is the clock of this machine right?";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `the server's certificate is for another host (${error.message}); use a name that it has`;
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return (
        `nobody whom this client trusts has signed the server's certificate (${error.message}); trust it with ` +
        "tls: { ca: 'ca.pem' }, or { pin: 'sha256:...' } if it is self-signed"
      );
    case "ECONNRESET":
      return (
        "the server closed the connection in the TLS handshake; does it speak TLS on this port, and want no " +
        `certificate of this client? One without TLS has ${plain}:// addresses instead of ${address.scheme}://`
      );
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
      return (
        `what answers there speaks no TLS, or only an old version (${reasonOf(error)}); use the port on which it ` +
        `does, or ${plain}:// if it is meant to be without`
      );
    default:
      return `the TLS handshake failed: ${whyBroken(error)}`;
  }
}

/** Why a connection broke. */
export function whyBroken(error: Error): string {
  const code = codeOf(error);
  if (code.includes("CERTIFICATE_REQUIRED")) {
    return "the server asks for a certificate of this client; give it with tls: { certificate: '...' }";
  }
  if (code.includes("ALERT") && /CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED/.test(code)) {
    return `the server does not accept the certificate of this client (${reasonOf(error)})`;
  }
  switch (code) {
    case "ECONNREFUSED":
      return "connection refused";
    case "ECONNRESET":
      return "connection reset by peer";
    case "EPIPE":
      return "broken pipe";
    case "ETIMEDOUT":
      return "connection timed out";
    case "EHOSTUNREACH":
      return "no route to host";
    case "ENETUNREACH":
      return "network is unreachable";
    default:
      return reasonOf(error);
  }
}

function codeOf(error: Error): string {
  const code = (error as NodeJS.ErrnoException).code;
  return typeof code === "string" ? code : "";
}

function reasonOf(error: Error): string {
  const reason = (error as { reason?: unknown }).reason;
  return typeof reason === "string" && reason ? reason : error.message || "without a word";
}

function cannotUse(address: Address, field: string, path: string, error: unknown): ConnectError {
  const code = error instanceof Error ? codeOf(error) : "";
  const why =
    code === "ENOENT"
      ? "there is no such file"
      : code === "EACCES"
        ? "it may not be read"
        : `there is no such thing in it, as PEM, or it does not fit (${error instanceof Error ? error.message : String(error)})`;
  return new ConnectError(String(address), `tls: ${field} '${path}': ${why}`, { cause: error });
}
