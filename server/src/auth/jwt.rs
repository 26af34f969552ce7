//! Players by tokens that somebody else gives out: JSON Web Tokens (RFC 7519), judged as RFC 8725 advises.
//!
//! A key fits one algorithm, by what it is and not by what a token says, and a token is judged by keys of its algorithm
//! alone: a public RSA key is never taken for the secret of HS256. `none` is no algorithm here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, decode, decode_header};
use serde_json::Value;
use tagwire::Access;
use tagwire::name;

use super::watched::Watched;
use super::{Attempt, AuthError, Authenticator, Denied, Identity, TokenError};
use crate::config::JwtAuth as Settings;

/// Fewest bytes of a secret for HS256 (RFC 7518, section 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// Fewest bits of an RSA key (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// And most: what a signature costs grows with the square.
const MAX_RSA_BITS: usize = 8192;
/// Bytes of an Ed25519 key (RFC 8037).
const ED25519_BYTES: usize = 32;
/// Keys that one token is tried with, where it does not say which.
const MAX_TRIES: usize = 8;

/// A key, and the one algorithm that it is for.
struct Key {
    algorithm: Algorithm,
    id: Option<String>,
    key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Judges tokens by the keys of a file.
pub(crate) struct JwtAuth {
    keys: Watched<Vec<Key>>,
    settings: Settings,
}

impl JwtAuth {
    pub(crate) fn read(settings: &Settings) -> Result<Self, AuthError> {
        let algorithms: Vec<_> = settings.algorithms.iter().map(|algorithm| algorithm.of()).collect();
        let parse = move |bytes: &[u8]| parse_keys(bytes, &algorithms);
        let fix =
            "jwt_auth.key names the file of a public key (PEM), of keys (JWKS), or of a secret for HS256";
        let keys = Watched::new(Path::new(&settings.key), Box::new(parse), fix)?;
        Ok(JwtAuth { keys, settings: settings.clone() })
    }

    fn judge(&self, token: &str) -> Result<Identity, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        let header = decode_header(token).map_err(|error| refused(error.kind()))?;
        if header.crit.is_some() {
            // RFC 7515, section 4.1.11: what is critical and not understood makes it invalid.
            return Err(TokenError::Invalid("it asks for an extension (crit)"));
        }
        let keys = self.keys.get();
        let fitting = keys.iter().filter(|key| {
            let named = match (&header.kid, &key.id) {
                (Some(wanted), Some(id)) => wanted == id,
                _ => true,
            };
            named && key.algorithm == header.alg
        });
        let mut last = TokenError::Invalid("no key is for its algorithm (alg) and its name of the key (kid)");
        for key in fitting.take(MAX_TRIES) {
            match decode::<BTreeMap<String, Value>>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(decoded) => return self.identity(&decoded.claims),
                Err(error) => last = refused(error.kind()),
            }
            // Another key may fit; what a good signature says is final.
            if !matches!(last, TokenError::Invalid(_)) {
                break;
            }
        }
        Err(last)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let Settings { issuer, audience, leeway_s, .. } = &self.settings;
        let mut validation = Validation::new(algorithm);
        validation.leeway = *leeway_s;
        validation.validate_nbf = true;
        let mut required = vec!["exp", "sub"];
        if !issuer.is_empty() {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        // Without one, a token that names an audience is refused: it is somebody else's (RFC 7519, section 4.1.3).
        if !audience.is_empty() {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        validation
    }

    fn identity(&self, claims: &BTreeMap<String, Value>) -> Result<Identity, TokenError> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let name = name::player(subject).map_err(|_| TokenError::Invalid("its subject (sub) is no name"))?;
        if name.is_empty() {
            return Err(TokenError::Invalid("its subject (sub) is empty"));
        }
        let expires_s = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        // Saturates where somebody means for ever.
        let valid_until_us = ((expires_s + self.settings.leeway_s as f64) * 1e6) as u64;
        let access = access(claim(claims, &self.settings.roles_claim));
        Ok(Identity::new(name, access).valid_until_us(valid_until_us))
    }
}

impl fmt::Display for JwtAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.get();
        let mut algorithms: Vec<_> = keys.iter().map(|key| format!("{:?}", key.algorithm)).collect();
        algorithms.sort();
        algorithms.dedup();
        let (algorithms, path) = (algorithms.join(", "), self.keys.path().display());
        write!(f, "players come in by tokens ({algorithms}), judged by the keys in {path} ({})", keys.len())
    }
}

impl Authenticator for JwtAuth {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        Ok(self.judge(&attempt.login.token)?)
    }

    fn reload(&self) {
        self.keys.reload();
    }
}

/// What the crate says of a token; its own text may show pieces of it.
fn refused(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::Early,
        ErrorKind::InvalidIssuer => TokenError::Elsewhere("another issuer (iss)"),
        ErrorKind::InvalidAudience => TokenError::Elsewhere("another audience (aud)"),
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => TokenError::Elsewhere("no issuer (iss)"),
            "aud" => TokenError::Elsewhere("no audience (aud)"),
            "exp" => TokenError::Invalid("it does not say when it expires (exp)"),
            "sub" => TokenError::Invalid("it does not say whose it is (sub)"),
            _ => TokenError::Invalid("a claim is missing"),
        },
        ErrorKind::InvalidSignature => TokenError::Invalid("its signature is not by our key"),
        ErrorKind::InvalidClaimFormat(_) => TokenError::Invalid("exp or nbf is no time"),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => {
            TokenError::Invalid("its algorithm (alg) is not admitted")
        }
        _ => TokenError::Invalid("it is no JWT of a known algorithm"),
    }
}

/// A claim by its name; where there is none of it, by the path that its dots make: `realm_access.roles`.
fn claim<'a>(claims: &'a BTreeMap<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// The most that the roles allow. One that is not known is a player's.
fn access(roles: Option<&Value>) -> Access {
    let of = |role: &str| match role {
        "operator" => Access::Operator,
        "guest" => Access::Guest,
        _ => Access::Player,
    };
    let most = match roles {
        // Several in a text have spaces between, as in `scope` (RFC 8693, section 4.2).
        Some(Value::String(roles)) => roles.split_whitespace().map(of).max(),
        Some(Value::Array(roles)) => roles.iter().map(|role| role.as_str().map_or(Access::Player, of)).max(),
        _ => None,
    };
    most.unwrap_or(Access::Player)
}

/// The keys of a file, those that are for an admitted algorithm.
fn parse_keys(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Key>, String> {
    let text = str::from_utf8(bytes).unwrap_or_default();
    if text.trim_start().starts_with('{') {
        return parse_jwks(text, algorithms);
    }
    if text.contains("-----BEGIN ") {
        return parse_pem(text, algorithms);
    }
    if !algorithms.contains(&Algorithm::HS256) {
        let names = names(algorithms);
        return Err(format!(
            "expected a public key in PEM or keys as JWKS, for jwt_auth.algorithms = {names}"
        ));
    }
    // A line's end that an editor or echo adds belongs to no secret.
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    Ok(vec![secret_key(secret, None)?])
}

fn names(algorithms: &[Algorithm]) -> String {
    let names: Vec<_> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
    names.join(", ")
}

fn secret_key(secret: &[u8], id: Option<String>) -> Result<Key, String> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(format!(
            "a secret of {} bytes; HS256 needs at least {MIN_SECRET_BYTES}\n  fix: openssl rand -hex 32 > FILE",
            secret.len()
        ));
    }
    Ok(Key { algorithm: Algorithm::HS256, id, key: DecodingKey::from_secret(secret) })
}

fn rsa_key(key: DecodingKey, id: Option<String>) -> Result<Key, String> {
    // Whatever form it has, the crate must find number and exponent in it; an empty signature is never one.
    let usable = jsonwebtoken::crypto::verify("", b"", &key, Algorithm::RS256).is_ok();
    let described = Jwk::from_decoding_key(&key, Some(Algorithm::RS256));
    let modulus = match described.map(|jwk| jwk.algorithm) {
        Ok(AlgorithmParameters::RSA(rsa)) if usable => rsa.n,
        _ => return Err("this is no public RSA key".to_string()),
    };
    // Base64 without padding: six bits a character, the number without zeros before it.
    let bits = modulus.len() * 6 / 8 * 8;
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(format!("an RSA key of {bits} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken"));
    }
    Ok(Key { algorithm: Algorithm::RS256, id, key })
}

fn ed_key(key: DecodingKey, id: Option<String>) -> Result<Key, String> {
    let is_point = match key.kind() {
        // The crate counts on the length.
        DecodingKeyKind::SecretOrDer(bytes) if bytes.len() == ED25519_BYTES => {
            jsonwebtoken::crypto::verify("", b"", &key, Algorithm::EdDSA).is_ok()
        }
        _ => false,
    };
    if !is_point {
        return Err("this is no public Ed25519 key".to_string());
    }
    Ok(Key { algorithm: Algorithm::EdDSA, id, key })
}

fn parse_pem(text: &str, algorithms: &[Algorithm]) -> Result<Vec<Key>, String> {
    let mut keys = vec![];
    let mut from = 0;
    while let Some(begin) = text[from..].find("-----BEGIN ").map(|at| from + at) {
        let line = text[..begin].matches('\n').count() + 1;
        let wrong = |what: &str| format!("line {line}: {what}");
        let label = text[begin..].trim_start_matches("-----BEGIN ").split("-----").next().unwrap_or_default();
        let end_line = format!("-----END {label}-----");
        let Some(end) = text[begin..].find(&end_line).map(|at| begin + at + end_line.len()) else {
            return Err(wrong("this block of PEM has no end"));
        };
        let block = &text.as_bytes()[begin..end];
        if label.contains("PRIVATE") {
            return Err(wrong(
                "this is a private key, which does not belong on a game's server\n  \
                 fix: the public one: openssl pkey -in PRIVATE.pem -pubout",
            ));
        }
        if label == "CERTIFICATE" {
            return Err(wrong(
                "this is a certificate\n  fix: its public key: openssl x509 -in CERTIFICATE.pem -pubkey -noout",
            ));
        }
        // Whether it is one or the other, its own identifier says, which is looked at by both.
        let key = match (DecodingKey::from_ed_pem(block), DecodingKey::from_rsa_pem(block)) {
            (Ok(key), _) => ed_key(key, None),
            (_, Ok(key)) => rsa_key(key, None),
            _ => Err("this is neither a public RSA key nor an Ed25519 one".to_string()),
        };
        keys.push(key.map_err(|error| wrong(&error))?);
        from = end;
    }
    admitted(keys, algorithms)
}

fn parse_jwks(text: &str, algorithms: &[Algorithm]) -> Result<Vec<Key>, String> {
    // The crate's own text may show a piece of a secret.
    let malformed = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        format!("line {line} column {column}: this is no JWKS (RFC 7517, section 5)")
    };
    let value: Value = serde_json::from_str(text).map_err(malformed)?;
    let set: JwkSet = if value.get("keys").is_some() {
        serde_json::from_str(text).map_err(malformed)?
    } else {
        JwkSet { keys: vec![serde_json::from_str(text).map_err(malformed)?] }
    };
    let mut keys = vec![];
    for (at, jwk) in set.keys.iter().enumerate() {
        let id = jwk.common.key_id.clone();
        let name = id.as_deref().map_or_else(|| format!("number {}", at + 1), |id| format!("{id:?}"));
        // What is for encryption, or for an algorithm that is none of ours, is somebody else's.
        if let Some(key) = parse_jwk(jwk, id) {
            keys.push(key.map_err(|error| format!("key {name}: {error}"))?);
        }
    }
    admitted(keys, algorithms)
}

/// `None`: it is not for the signatures that are known here.
fn parse_jwk(jwk: &Jwk, id: Option<String>) -> Option<Result<Key, String>> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        _ => return None,
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let stated = jwk.common.key_algorithm;
    if !signs || stated.is_some_and(|stated| Algorithm::try_from(stated) != Ok(algorithm)) {
        return None;
    }
    let Ok(key) = DecodingKey::from_jwk(jwk) else { return Some(Err("it is not base64url".to_string())) };
    Some(match (algorithm, key.kind()) {
        (Algorithm::RS256, _) => rsa_key(key, id),
        (Algorithm::EdDSA, _) => ed_key(key, id),
        (_, DecodingKeyKind::SecretOrDer(secret)) => secret_key(secret, id),
        (_, _) => Err("it is no secret".to_string()),
    })
}

/// Those that are for an admitted algorithm; there must be one.
fn admitted(keys: Vec<Key>, algorithms: &[Algorithm]) -> Result<Vec<Key>, String> {
    let found = keys.len();
    let keys: Vec<_> = keys.into_iter().filter(|key| algorithms.contains(&key.algorithm)).collect();
    if keys.is_empty() {
        let names = names(algorithms);
        return Err(format!("of {found} keys, none is for jwt_auth.algorithms = {names}"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
    use serde_json::json;

    use super::super::tests::login;
    use super::*;
    use crate::config::JwtAlgorithm;

    const ED_PRIVATE: &str = include_str!("../../tests/keys/ed25519.private.pem");
    const ED_PUBLIC: &str = include_str!("../../tests/keys/ed25519.public.pem");
    const RSA_PRIVATE: &str = include_str!("../../tests/keys/rsa.private.pem");
    const RSA_PUBLIC: &str = include_str!("../../tests/keys/rsa.public.pem");
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn auth_of(key: &str, change: impl FnOnce(&mut Settings)) -> Result<JwtAuth, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        fs::write(&path, key).expect("written");
        let mut settings = Settings { key: path.display().to_string(), ..Settings::default() };
        change(&mut settings);
        // The file goes with the folder; what was read stays.
        JwtAuth::read(&settings).map_err(|error| error.to_string().replace(&settings.key, "KEY"))
    }

    fn auth(key: &str) -> JwtAuth {
        auth_of(key, |_| ()).expect("a key")
    }

    fn hs256(settings: &mut Settings) {
        settings.algorithms = vec![JwtAlgorithm::Hs256];
    }

    fn claims(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Value {
        let mut claims = json!({ "sub": "zoe", "exp": get_current_timestamp() + 60 });
        change(claims.as_object_mut().expect("it is one"));
        claims
    }

    fn signed(algorithm: Algorithm, claims: &Value) -> String {
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()),
            Algorithm::RS256 | Algorithm::RS384 => EncodingKey::from_rsa_pem(RSA_PRIVATE.as_bytes()),
            _ => Ok(EncodingKey::from_secret(SECRET.as_bytes())),
        };
        encode(&Header::new(algorithm), claims, &key.expect("a private key")).expect("signed")
    }

    fn judge(auth: &JwtAuth, token: &str) -> Result<Identity, Denied> {
        auth.authenticate(&Attempt::new(&login("somebody", "", token)))
    }

    fn plain() -> Value {
        claims(|_| ())
    }

    #[test]
    fn each_algorithm_has_its_kind_of_key() {
        for (algorithm, key) in
            [(Algorithm::EdDSA, ED_PUBLIC), (Algorithm::RS256, RSA_PUBLIC), (Algorithm::HS256, SECRET)]
        {
            let auth = auth_of(key, |settings| {
                if algorithm == Algorithm::HS256 {
                    hs256(settings);
                }
            })
            .expect("a key");
            let identity = judge(&auth, &signed(algorithm, &plain())).expect("a good token");
            assert_eq!((identity.name.as_str(), identity.access), ("zoe", Access::Player));
            let valid_until_us = identity.valid_until_us.expect("it expires");
            let expected_s = get_current_timestamp() + 60 + 30;
            assert!(
                (expected_s - 5..=expected_s).contains(&(valid_until_us / 1_000_000)),
                "{valid_until_us}"
            );
            for other in
                [Algorithm::EdDSA, Algorithm::RS256, Algorithm::RS384, Algorithm::HS256, Algorithm::HS512]
            {
                let good = judge(&auth, &signed(other, &plain())).is_ok();
                assert_eq!(good, other == algorithm, "{other:?} where {algorithm:?} is admitted");
            }
        }
    }

    #[test]
    fn a_key_is_never_taken_for_another_kind() {
        let both = |settings: &mut Settings| {
            settings.algorithms = vec![JwtAlgorithm::Rs256, JwtAlgorithm::Hs256, JwtAlgorithm::EdDsa];
        };
        // The attack of RFC 8725, section 2.1: the public key, which everybody has, as the secret.
        let auth = auth_of(RSA_PUBLIC, both).expect("a key");
        for secret in [RSA_PUBLIC, RSA_PUBLIC.trim(), ED_PUBLIC] {
            let key = EncodingKey::from_secret(secret.as_bytes());
            let forged = encode(&Header::new(Algorithm::HS256), &plain(), &key).expect("signed");
            let no_key = "no key is for its algorithm (alg) and its name of the key (kid)";
            assert_eq!(judge(&auth, &forged), Err(TokenError::Invalid(no_key).into()));
        }
        // And as `none`, in every spelling, with and without a signature.
        let good = signed(Algorithm::RS256, &plain());
        let parts: Vec<_> = good.split('.').collect();
        for header in [
            "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", // {"alg":"none","typ":"JWT"}
            "eyJhbGciOiJOb25lIiwidHlwIjoiSldUIn0", // None
            "eyJhbGciOiJOT05FIiwidHlwIjoiSldUIn0", // NONE
            "eyJ0eXAiOiJKV1QifQ",                  // {"typ":"JWT"}
        ] {
            for signature in ["", parts[2]] {
                let refused = judge(&auth, &format!("{header}.{}.{signature}", parts[1])).expect_err(header);
                assert_eq!(refused.to_string(), "the token is not valid");
            }
        }
        assert!(judge(&auth, &good).is_ok());
    }

    #[test]
    fn a_token_is_for_its_time() {
        let auth = auth(ED_PUBLIC);
        let now = get_current_timestamp();
        let judged = |change: fn(&mut serde_json::Map<String, Value>, u64)| {
            judge(&auth, &signed(Algorithm::EdDSA, &claims(|claims| change(claims, get_current_timestamp()))))
                .map(|identity| identity.name)
        };
        let ok = || Ok("zoe".to_string());
        assert_eq!(
            judged(|claims, now| drop(claims.insert("exp".into(), json!(now - 20)))),
            ok(),
            "the leeway"
        );
        assert_eq!(
            judged(|claims, now| drop(claims.insert("exp".into(), json!(now - 40)))),
            Err(TokenError::Expired.into())
        );
        assert_eq!(
            judged(|claims, now| drop(claims.insert("nbf".into(), json!(now + 20)))),
            ok(),
            "the leeway"
        );
        assert_eq!(
            judged(|claims, now| drop(claims.insert("nbf".into(), json!(now + 40)))),
            Err(TokenError::Early.into())
        );
        let no_exp = TokenError::Invalid("it does not say when it expires (exp)");
        assert_eq!(judged(|claims, _| drop(claims.remove("exp"))), Err(no_exp.into()));
        assert_eq!(judged(|claims, _| drop(claims.insert("exp".into(), json!("never")))), Err(no_exp.into()));
        let no_time = TokenError::Invalid("exp or nbf is no time");
        assert_eq!(judged(|claims, _| drop(claims.insert("nbf".into(), json!("now")))), Err(no_time.into()));
        let far = judge(
            &auth,
            &signed(Algorithm::EdDSA, &claims(|c| drop(c.insert("exp".into(), json!(u64::MAX))))),
        );
        assert!(far.expect("for ever").valid_until_us.is_some_and(|until| until > now * 1_000_000 * 100));
    }

    #[test]
    fn a_token_is_for_whom_it_says() {
        let strict = auth_of(ED_PUBLIC, |settings| {
            settings.issuer = "https://accounts.example".to_string();
            settings.audience = "game".to_string();
        })
        .expect("a key");
        let token = |iss: Value, aud: Value| {
            signed(
                Algorithm::EdDSA,
                &claims(|claims| {
                    claims.insert("iss".into(), iss);
                    claims.insert("aud".into(), aud);
                    claims.retain(|_, value| !value.is_null());
                }),
            )
        };
        let (ours, game) = (json!("https://accounts.example"), json!("game"));
        assert!(judge(&strict, &token(ours.clone(), game.clone())).is_ok());
        assert!(judge(&strict, &token(ours.clone(), json!(["shop", "game"]))).is_ok());
        for (iss, aud, detail) in [
            (json!("https://others.example"), game.clone(), "another issuer (iss)"),
            (Value::Null, game.clone(), "no issuer (iss)"),
            (ours.clone(), json!("shop"), "another audience (aud)"),
            (ours.clone(), json!(["shop"]), "another audience (aud)"),
            (ours.clone(), Value::Null, "no audience (aud)"),
        ] {
            let refused = judge(&strict, &token(iss, aud)).expect_err(detail);
            assert_eq!(refused, TokenError::Elsewhere(detail).into());
            assert_eq!(refused.to_string(), "the token is not for this server");
        }
        // Where nothing is asked for, a token that is for somebody is for somebody else.
        let loose = auth(ED_PUBLIC);
        assert!(judge(&loose, &token(ours.clone(), Value::Null)).is_ok());
        let elsewhere = TokenError::Elsewhere("another audience (aud)");
        assert_eq!(judge(&loose, &token(ours, game)), Err(elsewhere.into()));
    }

    #[test]
    fn the_subject_is_a_name() {
        let auth = auth(ED_PUBLIC);
        let of = |sub: Value| {
            let token = signed(Algorithm::EdDSA, &claims(|claims| drop(claims.insert("sub".into(), sub))));
            judge(&auth, &token).map(|identity| identity.name)
        };
        assert_eq!(of(json!("Mu\u{308}ller")), Ok("Müller".to_string()));
        for (sub, detail) in [
            (json!(""), "its subject (sub) is empty"),
            (json!("a\nb"), "its subject (sub) is no name"),
            (json!("x".repeat(33)), "its subject (sub) is no name"),
            (json!(7), "it does not say whose it is (sub)"),
        ] {
            assert_eq!(of(sub), Err(TokenError::Invalid(detail).into()));
        }
    }

    #[test]
    fn a_claim_gives_the_role() {
        let auth = auth_of(ED_PUBLIC, |settings| settings.roles_claim = "realm_access.roles".to_string());
        let auth = auth.expect("a key");
        let of = |name: &str, value: Value| {
            let token = signed(Algorithm::EdDSA, &claims(|claims| drop(claims.insert(name.into(), value))));
            judge(&auth, &token).expect("a good token").access
        };
        for (roles, access) in [
            (json!("operator"), Access::Operator),
            (json!("guest"), Access::Guest),
            (json!("Operator"), Access::Player),
            (json!("vip operator"), Access::Operator),
            (json!(["guest", "operator"]), Access::Operator),
            (json!(["guest", "vip"]), Access::Player),
            (json!(["guest"]), Access::Guest),
            (json!([]), Access::Player),
            (json!([3]), Access::Player),
            (json!(3), Access::Player),
            (Value::Null, Access::Player),
        ] {
            assert_eq!(of("realm_access", json!({ "roles": roles.clone() })), access, "{roles}");
            assert_eq!(of("realm_access.roles", roles.clone()), access, "{roles}");
        }
        assert_eq!(of("role", json!("operator")), Access::Player, "another claim gives nothing");
    }

    #[test]
    fn what_is_no_token_is_not_valid() {
        let auth = auth(ED_PUBLIC);
        assert_eq!(judge(&auth, ""), Err(TokenError::Missing.into()));
        let good = signed(Algorithm::EdDSA, &plain());
        let parts: Vec<_> = good.split('.').collect();
        let other =
            signed(Algorithm::EdDSA, &claims(|claims| drop(claims.insert("sub".into(), json!("kit")))));
        let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap_or_default(), parts[2]);
        let crit = {
            let header = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::EdDSA) };
            let key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).expect("a key");
            encode(&header, &plain(), &key).expect("signed")
        };
        for token in [
            "x",
            "..",
            "...",
            "a.b.c",
            "\u{0}",
            &good[1..],
            &good[..good.len() - 4],
            &format!("{good}.x"),
            &format!("{}.{}.", parts[0], parts[1]),
            &swapped,
            &crit,
            &"A".repeat(8000),
            &"9.".repeat(4000),
        ] {
            let refused = judge(&auth, token).expect_err(token);
            assert_eq!(refused.to_string(), "the token is not valid", "{token}");
            assert!(refused.is_guess());
        }
    }

    /// RFC 8037, appendix A.2, and the key of rsa.public.pem.
    #[test]
    fn keys_have_names_in_a_set() {
        let key = |kid: &str, pem: &str| {
            let key = DecodingKey::from_ed_pem(pem.as_bytes()).expect("a key");
            let mut jwk = Jwk::from_decoding_key(&key, Some(Algorithm::EdDSA)).expect("a key");
            jwk.common.key_id = Some(kid.to_string());
            serde_json::to_value(jwk).expect("JSON")
        };
        let foreign = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "foreign", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        });
        let of_others = [
            json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": "enc", "use": "enc", "x": "AA" }),
            json!({ "kty": "new", "kid": "new" }),
        ];
        let set =
            json!({ "keys": [foreign, of_others[0], of_others[1], of_others[2], key("ours", ED_PUBLIC)] });
        let auth = auth(&set.to_string());
        assert_eq!(auth.keys.get().len(), 2, "those of others are passed over");
        let token = |kid: Option<&str>| {
            let header = Header { kid: kid.map(str::to_string), ..Header::new(Algorithm::EdDSA) };
            let key = EncodingKey::from_ed_pem(ED_PRIVATE.as_bytes()).expect("a key");
            encode(&header, &plain(), &key).expect("signed")
        };
        assert!(judge(&auth, &token(Some("ours"))).is_ok());
        assert!(judge(&auth, &token(None)).is_ok(), "without a name, all are tried");
        for kid in ["foreign", "none"] {
            assert_eq!(
                judge(&auth, &token(Some(kid))).map_err(|denied| denied.to_string()),
                Err("the token is not valid".to_string())
            );
        }
        // One key alone is a file, too.
        let single = auth_of(&key("ours", ED_PUBLIC).to_string(), |_| ()).expect("a key");
        assert!(judge(&single, &token(Some("ours"))).is_ok());
        // As is a secret, where it is admitted.
        let oct = json!({ "kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" }).to_string();
        assert!(judge(&auth_of(&oct, hs256).expect("a key"), &signed(Algorithm::HS256, &plain())).is_ok());
        let refused = auth_of(&oct, |_| ()).map(drop);
        assert_eq!(
            refused,
            Err("KEY: of 1 keys, none is for jwt_auth.algorithms = RS256, EdDSA".to_string())
        );
    }

    #[test]
    fn a_file_that_is_no_key_says_what_to_do_and_shows_nothing() {
        let short = "hunter2-hunter2";
        let small = json!({ "kty": "RSA", "n": "A".repeat(171), "e": "AQAB" }).to_string();
        for (text, admits_secret, says) in [
            ("", true, "a secret of 0 bytes; HS256 needs at least 32\n  fix: openssl rand -hex 32 > FILE"),
            (
                short,
                true,
                "a secret of 15 bytes; HS256 needs at least 32\n  fix: openssl rand -hex 32 > FILE",
            ),
            (
                short,
                false,
                "expected a public key in PEM or keys as JWKS, for jwt_auth.algorithms = RS256, EdDSA",
            ),
            (
                ED_PRIVATE,
                false,
                "line 1: this is a private key, which does not belong on a game's server\n  \
                 fix: the public one: openssl pkey -in PRIVATE.pem -pubout",
            ),
            (ED_PUBLIC, true, "of 1 keys, none is for jwt_auth.algorithms = HS256"),
            (
                &ED_PUBLIC.replace("MCow", "AAAA"),
                false,
                "line 1: this is neither a public RSA key nor an Ed25519 one",
            ),
            ("\n-----BEGIN PUBLIC KEY-----\nhunter2\n", false, "line 2: this block of PEM has no end"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                false,
                "line 1: this is a certificate\n  fix: its public key: openssl x509 -in CERTIFICATE.pem -pubkey -noout",
            ),
            ("{\n\"hunter2\": }", false, "line 2 column 12: this is no JWKS (RFC 7517, section 5)"),
            ("{\"keys\": []}", false, "of 0 keys, none is for jwt_auth.algorithms = RS256, EdDSA"),
            (
                "{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"kid\": \"k\", \"x\": \"AAAA\"}",
                false,
                "key \"k\": this is no public Ed25519 key",
            ),
            (
                "{\"kty\": \"oct\", \"k\": \"aHVudGVyMg\"}",
                true,
                "key number 1: a secret of 7 bytes; HS256 needs at least 32\n  fix: openssl rand -hex 32 > FILE",
            ),
            (&small, false, "key number 1: an RSA key of 1024 bits; 2048 to 8192 are taken"),
        ] {
            let refused = auth_of(text, |settings| {
                if admits_secret {
                    hs256(settings);
                }
            });
            let error = refused.map(drop).expect_err(says);
            assert_eq!(error, format!("KEY: {says}"));
            assert!(!error.contains("hunter2") && !error.contains("aHVudGVyMg"), "{error}");
        }
        assert!(!format!("{:?}", auth_of(SECRET, hs256).expect("a key").keys.get()).contains("0123"));
    }
}
