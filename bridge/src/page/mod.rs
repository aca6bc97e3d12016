//! The status page: hand-written files, embedded in the program.
//!
//! Owns the files beside this one and the policy under which a browser shows them. Promises: nothing is fetched from
//! elsewhere, nothing runs that is not one of these files. Never: has state; everything shown is asked from the health
//! server by the page itself.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// What a browser may do with answers of the health server.
pub const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("index.html")),
    ("/page/style.css", STYLE, include_str!("style.css")),
    ("/page/main.js", SCRIPT, include_str!("main.js")),
    ("/page/words.js", SCRIPT, include_str!("words.js")),
    ("/page/now.js", SCRIPT, include_str!("now.js")),
    ("/page/day.js", SCRIPT, include_str!("day.js")),
    ("/page/pictures.js", SCRIPT, include_str!("pictures.js")),
    ("/page/commands.js", SCRIPT, include_str!("commands.js")),
];

/// The routes of the page.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], content).into_response() }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scheme or a protocol-relative address would leave this machine; a handler in an attribute would need an exception.
    #[test]
    fn no_file_names_another_place_or_needs_an_exception_of_the_policy() {
        for (path, kind, content) in FILES {
            let content = content.replace("http://www.w3.org/", "");
            for word in ["http:", "https:", "src=\"//", "@import", "eval(", "innerHTML", "style=\"", "onclick="] {
                assert!(!content.contains(word), "{path} holds {word}");
            }
            assert!(kind != HTML || !content.contains("<style"), "{path} has a style of its own");
        }
        assert!(!SECURITY_POLICY.contains("unsafe"));
    }

    #[test]
    fn every_file_that_one_names_is_served() {
        for (from, _, content) in FILES {
            for name in content.split('"').filter(|word| word.starts_with("/page/") || word.starts_with("./")) {
                let path = name.replace("./", "/page/");
                assert!(FILES.iter().any(|(served, ..)| *served == path), "{from} names {name}");
            }
        }
    }
}
