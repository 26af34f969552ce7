//! What a browser asks for on the port of the game: a WebSocket, a file where there is a folder of them, or something that there
//! is not. One request a connection.

use std::net::IpAddr;

use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
pub(crate) use tungstenite::http::StatusCode as Status;
use tungstenite::http::header::{HOST, IF_NONE_MATCH, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use tungstenite::http::uri::Authority;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// The subprotocol that is spoken: whoever names any must name this.
pub(crate) const SUBPROTOCOL: &str = "tagwire.v1";
/// Longest head of a request, bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Where a WebSocket is; the second is the reference's.
const PATHS: [&str; 2] = ["/", "/packets"];

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The head is not complete yet.
    More,
    /// It becomes a WebSocket; so many bytes of what came are the head.
    WebSocket { response: Vec<u8>, head_bytes: usize },
    /// A file is asked for; whether there is one is not known here.
    File(Asked),
    /// A page, and nothing more. `why`: for the log, where something was refused.
    Page { status: Status, response: Vec<u8>, why: Option<String> },
}

/// A file that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As it was written, from its `/` on, without a query.
    pub(crate) path: String,
    /// What stands behind its `?`, as it was written.
    query: Option<String>,
    /// The head of the answer is wanted, and no body.
    pub(crate) is_head: bool,
    /// The host that was asked, with its port if one was said.
    pub(crate) host: Option<String>,
    /// What of it is known already: `If-None-Match`.
    known: String,
}

impl Asked {
    /// Whether it is known as it is now, by its `ETag`. Weak ones are as good (RFC 9110, section 13.1.2).
    pub(crate) fn knows(&self, tag: &str) -> bool {
        let mut tags = self.known.split(',').map(str::trim);
        tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
    }

    /// A path to which somebody is sent on instead.
    pub(crate) fn with_query(&self, path: &str) -> String {
        self.query.as_ref().map_or_else(|| path.to_string(), |query| format!("{path}?{query}"))
    }

    pub(crate) fn method(&self) -> &'static str {
        if self.is_head { "HEAD" } else { "GET" }
    }
}

/// The head of an answer, and a text for people where nothing else is its body.
#[derive(Debug)]
pub(crate) struct Head {
    status: Status,
    headers: String,
    text: String,
}

impl Head {
    pub(crate) fn new(status: Status) -> Self {
        let headers = "X-Content-Type-Options: nosniff\r\nConnection: close\r\n".to_string();
        Head { status, headers, text: String::new() }
    }

    /// A line to read.
    pub(crate) fn page(status: Status, text: &str) -> Self {
        let head = Head::new(status).with("Content-Type", "text/plain; charset=utf-8");
        let head = head.with("Content-Length", &(text.len() + 1).to_string());
        Head { text: format!("{text}\n"), ..head }
    }

    /// Neither may hold an end of a line.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        debug_assert!(!value.contains(['\r', '\n']), "{name}: {value:?}");
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }

    /// As it is sent. `is_head`: without a body.
    pub(crate) fn encode(&self, is_head: bool) -> Vec<u8> {
        let Head { status, headers, text } = self;
        let text = if is_head { "" } else { text };
        format!("HTTP/1.1 {status}\r\n{headers}\r\n{text}").into_bytes()
    }
}

/// Answers what has come so far. `origins`: whose pages may open a WebSocket, as in `websocket_origins`. `files`: there is a
/// folder of them.
pub(crate) fn answer(input: &[u8], origins: &[String], files: bool) -> Answer {
    let Some(behind) = input.strip_prefix(b"HEAD ") else { return answer_get(input, origins, files) };
    // It asks for what GET would get, without the body.
    let answer = match answer_get(&[b"GET ", behind].concat(), origins, files) {
        Answer::WebSocket { .. } => page(Status::BAD_REQUEST, "A WebSocket begins with GET."),
        answer => answer,
    };
    match answer {
        Answer::File(asked) => Answer::File(Asked { is_head: true, ..asked }),
        Answer::Page { status, mut response, why } => {
            let end = response.windows(4).position(|four| four == b"\r\n\r\n");
            response.truncate(end.map_or(response.len(), |at| at + 4));
            Answer::Page { status, response, why }
        }
        answer => answer,
    }
}

fn answer_get(input: &[u8], origins: &[String], files: bool) -> Answer {
    let too_large = || page(Status::REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of the request is too large.");
    let newer = of_version_1_0(input).map(|line| {
        let rest = &input[line.len()..];
        [&line[..line.len() - 1], b"1", rest].concat()
    });
    let (head_bytes, request) = match Request::try_parse(newer.as_deref().unwrap_or(input)) {
        Ok(Some((head_bytes, _))) if head_bytes > MAX_HEAD_BYTES => return too_large(),
        Ok(Some(parsed)) => parsed,
        Ok(None) if input.len() >= MAX_HEAD_BYTES => return too_large(),
        Ok(None) => return Answer::More,
        Err(tungstenite::Error::Capacity(_)) => return too_large(),
        Err(error) => return page(Status::BAD_REQUEST, &format!("That is no request: {error}.")),
    };
    let path = request.uri().path();
    if files && !asks_for_websocket(request.headers()) {
        let header = |name: HeaderName| Some(request.headers().get(name)?.to_str().ok()?.to_string());
        let host = header(HOST)
            .filter(|host| host.parse::<Authority>().is_ok_and(|host| !host.as_str().contains('@')));
        return Answer::File(Asked {
            path: path.to_string(),
            query: request.uri().query().map(str::to_string),
            is_head: false,
            host,
            known: header(IF_NONE_MATCH).unwrap_or_default(),
        });
    }
    if !PATHS.contains(&path) {
        return page(Status::NOT_FOUND, "There is nothing here; a WebSocket is at /.");
    }
    if !request.headers().contains_key(UPGRADE) {
        let text =
            "This is a tagwire server. Clients connect by ws:// or wss:// with the subprotocol tagwire.v1.";
        let head = Head::page(Status::OK, text);
        return Answer::Page { status: head.status(), response: head.encode(false), why: None };
    }
    if newer.is_some() {
        return page(Status::BAD_REQUEST, "A WebSocket begins with HTTP/1.1.");
    }
    let mut response = match create_response(&request) {
        Ok(response) => response,
        Err(error) => return page(Status::BAD_REQUEST, &format!("That is no WebSocket: {error}.")),
    };
    if let Err(origin) = may_open(request.headers(), origins) {
        let text = format!(
            "Pages of {origin} may not connect. The server's setting websocket_origins says whose pages may."
        );
        return page(Status::FORBIDDEN, &text);
    }
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut names = offered.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if names.by_ref().any(|name| name.trim() == SUBPROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    } else if request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return page(Status::BAD_REQUEST, "The subprotocol here is tagwire.v1.");
    }
    let mut head = vec![];
    match write_response(&mut head, &response) {
        Ok(()) => Answer::WebSocket { response: head, head_bytes },
        Err(error) => page(Status::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The first line of a request in HTTP/1.0, up to its version, which is as long as that of 1.1. Many proxies ask in it, and what
/// reads heads here does not.
fn of_version_1_0(input: &[u8]) -> Option<&[u8]> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    line.ends_with(b" HTTP/1.0").then_some(line)
}

/// Programs that do not speak of WebSocket ask for other things, `h2c` say, and take no for an answer.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let asked = headers.get_all(UPGRADE);
    let mut names = asked.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|name| name.trim().eq_ignore_ascii_case("websocket"))
}

/// Whether a page of the request's origin may; a request without one is no browser's.
fn may_open(headers: &HeaderMap, origins: &[String]) -> Result<(), String> {
    let text = |name: HeaderName| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let Some(origin) = text(ORIGIN) else { return Ok(()) };
    let page_host = host_of(&origin);
    let may = origins.iter().any(|admitted| match admitted.as_str() {
        "*" => true,
        "same" => {
            let here = text(HOST).and_then(|host| host_of(&format!("http://{host}")));
            page_host.is_some() && page_host == here
        }
        "loopback" => page_host.as_deref().is_some_and(is_loopback),
        exact => exact.eq_ignore_ascii_case(&origin),
    });
    // Shown to people: what is in it is a stranger's.
    if may { Ok(()) } else { Err(origin.escape_debug().take(200).collect()) }
}

fn host_of(origin: &str) -> Option<String> {
    Some(origin.parse::<Uri>().ok()?.host()?.to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether this can be in `websocket_origins`.
pub(crate) fn is_origin_rule(rule: &str) -> bool {
    let is_origin = || {
        let Ok(uri) = rule.parse::<Uri>() else { return false };
        uri.scheme().is_some() && uri.host().is_some() && !rule.ends_with('/') && uri.path() == "/"
    };
    matches!(rule, "*" | "same" | "loopback" | "null") || is_origin()
}

fn page(status: Status, text: &str) -> Answer {
    Answer::Page { status, response: Head::page(status, text).encode(false), why: Some(text.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Host: game.example:7777\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    fn ask(line: &str, headers: &str, origins: &[&str]) -> (String, Option<usize>) {
        let input = format!("{line}\r\n{headers}\r\n");
        let origins: Vec<_> = origins.iter().map(|rule| (*rule).to_string()).collect();
        match answer(input.as_bytes(), &origins, false) {
            Answer::More => ("more".to_string(), None),
            Answer::WebSocket { response, head_bytes } => {
                (String::from_utf8(response).expect("text"), Some(head_bytes))
            }
            Answer::Page { response, .. } => (String::from_utf8(response).expect("text"), None),
            Answer::File(asked) => panic!("{asked:?}"),
        }
    }

    fn status(line: &str, headers: &str, origins: &[&str]) -> u16 {
        ask(line, headers, origins).0[9..12].parse().expect("a status")
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        for path in ["/", "/packets", "/?room=1"] {
            let (response, head) = ask(&format!("GET {path} HTTP/1.1"), HEAD, &[]);
            assert!(response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{response}");
            assert!(
                response.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
                "{response}"
            );
            assert!(!response.to_lowercase().contains("protocol:"), "none was offered: {response}");
            assert!(response.ends_with("\r\n\r\n"));
            assert_eq!(head, Some(format!("GET {path} HTTP/1.1\r\n{HEAD}\r\n").len()));
        }
    }

    #[test]
    fn a_head_that_is_cut_anywhere_waits_for_more() {
        let input = format!("GET / HTTP/1.1\r\n{HEAD}\r\n");
        for end in 4..input.len() {
            assert_eq!(answer(&input.as_bytes()[..end], &[], false), Answer::More, "{end}");
        }
    }

    #[test]
    fn of_subprotocols_ours_is_chosen_and_others_alone_are_refused() {
        let with =
            |names: &str| ask("GET / HTTP/1.1", &format!("{HEAD}Sec-WebSocket-Protocol: {names}\r\n"), &[]).0;
        assert!(with("graphql-ws, tagwire.v1").contains("sec-websocket-protocol: tagwire.v1\r\n"));
        assert!(with("graphql-ws").starts_with("HTTP/1.1 400 "));
        let twice = with("graphql-ws\r\nSec-WebSocket-Protocol: tagwire.v1");
        assert!(twice.contains("sec-websocket-protocol: tagwire.v1\r\n"), "{twice}");
    }

    #[test]
    fn pages_of_strangers_open_nothing() {
        let of = |origin: &str, rules: &[&str]| {
            status("GET / HTTP/1.1", &format!("{HEAD}Origin: {origin}\r\n"), rules)
        };
        let usual = ["same", "loopback"];
        for origin in [
            "https://game.example",
            "http://GAME.example:8080",
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://[::1]:3000",
            "https://dev.localhost",
            "capacitor://localhost",
        ] {
            assert_eq!(of(origin, &usual), 101, "{origin}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "https://game.example.evil.example",
            "https://notlocalhost",
            "http://localhost.evil.example",
            "garbage",
            "http://127.0.0.1.evil.example",
        ] {
            assert_eq!(of(origin, &usual), 403, "{origin}");
            assert_eq!(of(origin, &["*"]), 101, "{origin}");
        }
        assert_eq!(of("https://play.example", &["https://play.example"]), 101);
        assert_eq!(of("http://play.example", &["https://play.example"]), 403);
        assert_eq!(of("https://game.example", &[]), 403);
        assert_eq!(of("null", &["null"]), 101);
    }

    #[test]
    fn what_is_no_websocket_gets_a_page() {
        assert_eq!(status("GET / HTTP/1.1", "Host: x\r\n", &[]), 200);
        assert_eq!(status("GET /admin HTTP/1.1", HEAD, &[]), 404);
        assert_eq!(status("GET / HTTP/1.0", HEAD, &[]), 400);
        assert_eq!(status("GET / HTTP/1.0", "", &[]), 200);
        assert_eq!(status("GET / HTTP/1.2", "", &[]), 400);
        assert_eq!(status("GET / HTTP/1.1", &HEAD.replace("13", "8"), &[]), 400);
        assert_eq!(status("GET / HTTP/1.1", &HEAD.replace("dGhl", "x"), &[]), 400);
        assert_eq!(status("GET / HTTP/1.1", "Host x\r\n", &[]), 400);
    }

    #[test]
    fn a_large_head_is_refused_complete_or_not() {
        let long = format!("{HEAD}Cookie: {}\r\n", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(status("GET / HTTP/1.1", &long, &[]), 431);
        let many = format!("{HEAD}{}", "A: b\r\n".repeat(500));
        assert_eq!(status("GET / HTTP/1.1", &many, &[]), 431);
        let endless = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(MAX_HEAD_BYTES));
        assert!(matches!(answer(endless.as_bytes(), &[], false), Answer::Page { .. }));
    }

    fn file(line: &str, headers: &str) -> Asked {
        match answer(format!("{line}\r\n{headers}\r\n").as_bytes(), &[], true) {
            Answer::File(asked) => asked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn with_a_folder_what_is_no_websocket_asks_for_a_file() {
        let asked =
            file("GET /a%20b/?x=1 HTTP/1.1", "Host: game.example:7777\r\nIf-None-Match: W/\"a\", \"b\"\r\n");
        assert_eq!((asked.path.as_str(), asked.is_head), ("/a%20b/", false));
        assert_eq!(asked.host.as_deref(), Some("game.example:7777"));
        assert!(asked.knows("\"a\"") && asked.knows("\"b\"") && !asked.knows("\"c\""));
        assert!(file("GET / HTTP/1.1", "If-None-Match: *\r\n").knows("\"c\""));
        assert!(!file("GET / HTTP/1.1", "").knows("\"c\""));
        assert!(file("HEAD /x HTTP/1.1", "").is_head);
        assert_eq!(file("GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n").path, "/");
        assert_eq!(asked.with_query("/there"), "/there?x=1");
        assert_eq!(file("GET /? HTTP/1.1", "").with_query("/"), "/?");
        assert_eq!(file("GET / HTTP/1.1", "").with_query("/there"), "/there");
        // As proxies ask that are not told otherwise.
        let old = file("GET /x?y HTTP/1.0", "Host: game.example\r\nIf-None-Match: \"a\"\r\n");
        assert_eq!((old.path.as_str(), old.host.as_deref()), ("/x", Some("game.example")));
        assert!(old.knows("\"a\"") && file("HEAD /x HTTP/1.0", "").is_head);
        // Where a page is sent on to by its name, nobody else's name helps.
        for host in ["a b", "zoe@game.example", "a/b", ""] {
            assert_eq!(file("GET / HTTP/1.1", &format!("Host: {host}\r\n")).host, None, "{host}");
        }
        assert_eq!(file("GET http://other.example/page HTTP/1.1", "").path, "/page");
        for (line, headers, expected) in
            [("GET / HTTP/1.1", HEAD, 101), ("GET /x HTTP/1.1", HEAD, 404), ("GET / HTTP/1.0", HEAD, 400)]
        {
            let answer = answer(format!("{line}\r\n{headers}\r\n").as_bytes(), &[], true);
            let (Answer::WebSocket { response, .. } | Answer::Page { response, .. }) = answer else {
                panic!("{answer:?}")
            };
            assert!(response.starts_with(format!("HTTP/1.1 {expected} ").as_bytes()), "{line}");
        }
    }

    #[test]
    fn a_head_is_asked_for_as_a_page_is_and_comes_without_it() {
        let (page, head) = (ask("GET /x HTTP/1.1", "", &[]).0, ask("HEAD /x HTTP/1.1", "", &[]).0);
        assert!(head.ends_with("\r\n\r\n") && page.starts_with(&head) && page.len() > head.len(), "{head}");
        assert_eq!(status("HEAD / HTTP/1.1", "Host: x\r\n", &[]), 200);
        assert_eq!(status("HEAD / HTTP/1.1", HEAD, &[]), 400);
        for end in 5..20 {
            assert_eq!(answer(&b"HEAD / HTTP/1.1\r\nHost: x"[..end], &[], true), Answer::More, "{end}");
        }
    }

    #[test]
    fn rules_are_words_or_origins() {
        for rule in [
            "*",
            "same",
            "loopback",
            "null",
            "https://game.example",
            "http://localhost:5173",
            "tauri://localhost",
        ] {
            assert!(is_origin_rule(rule), "{rule}");
        }
        for rule in
            ["", "game.example", "https://game.example/", "https://game.example/play", "everyone", "https://"]
        {
            assert!(!is_origin_rule(rule), "{rule}");
        }
    }
}
