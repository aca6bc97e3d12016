//! One page: going somewhere, looking, pressing keys, taking a picture, and what went wrong meanwhile.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::until;

/// Longest wait for one answer of the browser.
const ANSWER: Duration = Duration::from_secs(60);
/// Events kept; a page that makes more has other problems.
const EVENTS: usize = 20_000;

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// `prefers-color-scheme: dark`, and reduced motion with it.
    pub dark: bool,
    /// Touch, and a viewport as on a phone.
    pub phone: bool,
}

impl View {
    /// A desk by day.
    pub const DESK: Self = Self { width: 1_280, height: 900, dark: false, phone: false };
    /// A desk at night.
    pub const NIGHT: Self = Self { dark: true, ..Self::DESK };
    /// A phone held upright.
    pub const PHONE: Self = Self { width: 375, height: 812, dark: false, phone: true };
}

/// What a page should not have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// `console`, `exception`, `log`, `policy` or `request`.
    pub kind: &'static str,
    /// As the browser tells it.
    pub text: String,
}

/// An open page.
#[derive(Debug)]
pub struct Page {
    socket: WebSocketStream<TcpStream>,
    session: String,
    last: u64,
    events: Vec<Value>,
}

impl Page {
    pub(super) async fn open(address: &str, path: &str, view: View) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("DevTools at {address}"))?;
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream).await?;
        let mut page = Self { socket, session: String::new(), last: 0, events: Vec::new() };
        let target = page.send("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attached =
            page.send("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true })).await?;
        page.session = attached["sessionId"].as_str().context("a session")?.to_owned();
        for domain in ["Page", "Runtime", "Log", "Network", "Audits", "DOM"] {
            page.send(&format!("{domain}.enable"), json!({})).await?;
        }
        page.turn(view).await?;
        Ok(page)
    }

    /// Gives the page another form.
    pub async fn turn(&mut self, view: View) -> Result<()> {
        let metrics = json!({
            "width": view.width, "height": view.height, "deviceScaleFactor": 1, "mobile": view.phone,
        });
        self.send("Emulation.setDeviceMetricsOverride", metrics).await?;
        let feature = |name: &str, value: &str| json!({ "name": name, "value": value });
        let features = [
            feature("prefers-color-scheme", if view.dark { "dark" } else { "light" }),
            feature("prefers-reduced-motion", if view.dark { "reduce" } else { "no-preference" }),
        ];
        self.send("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        Ok(())
    }

    /// Goes to an address.
    pub async fn go(&mut self, url: &str) -> Result<()> {
        let answer = self.send("Page.navigate", json!({ "url": url })).await?;
        if let Some(error) = answer["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        Ok(())
    }

    /// The value of an expression in the page; a promise is waited for.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.send("Runtime.evaluate", parameters).await?;
        if !answer["exceptionDetails"].is_null() {
            bail!("in the page: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// The text of the first element of a selector, as a reader sees it; empty when there is none.
    pub async fn text(&mut self, selector: &str) -> Result<String> {
        let selector = serde_json::to_string(selector)?;
        let text = self.evaluate(&format!("document.querySelector({selector})?.innerText ?? ''")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the text of an element holds `wanted`; the text.
    pub async fn wait_for(&mut self, selector: &str, wanted: &str, limit: Duration) -> Result<String> {
        // One page cannot be borrowed by two looks; they are made one after the other.
        let page = tokio::sync::Mutex::new(self);
        let what = format!("{wanted:?} in {selector}");
        let found = until(&what, limit, async || {
            let text = page.lock().await.text(selector).await.map_err(|error| format!("{error:#}"))?;
            if text.contains(wanted) { Ok(text) } else { Err(text) }
        });
        Ok(found.await?)
    }

    /// Presses a key, as `KeyboardEvent.key` names it, where the focus is.
    pub async fn press(&mut self, key: &str, code: u32) -> Result<()> {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.send("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// The whole page as a PNG file.
    pub async fn picture(&mut self, file: &Path) -> Result<()> {
        let parameters = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.send("Page.captureScreenshot", parameters).await?;
        let bytes = BASE64.decode(answer["data"].as_str().context("a picture")?.as_bytes())?;
        std::fs::write(file, bytes).with_context(|| file.display().to_string())
    }

    /// What the page did since it was opened that it should not: errors, breaches of its security policy, and requests that
    /// do not go to `origin`.
    pub async fn trouble(&mut self, origin: &str) -> Result<Vec<Trouble>> {
        // Whatever was told before this answer has arrived with it.
        self.evaluate("0").await?;
        Ok(self.events.iter().filter_map(|event| judged(event, origin)).collect())
    }

    async fn send(&mut self, method: &str, parameters: Value) -> Result<Value> {
        tokio::time::timeout(ANSWER, self.exchange(method, parameters))
            .await
            .with_context(|| format!("no answer to {method}"))?
    }

    async fn exchange(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let id = self.last;
        let mut request = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            request["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(request.to_string())).await?;
        loop {
            let message = self.socket.next().await.context("the browser has gone")??;
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text)?;
            if value["id"] != id {
                if self.events.len() < EVENTS {
                    self.events.push(value);
                }
                continue;
            }
            if !value["error"].is_null() {
                bail!("{method}: {}", value["error"]);
            }
            return Ok(value["result"].clone());
        }
    }
}

fn judged(event: &Value, origin: &str) -> Option<Trouble> {
    let (kind, told) = (event["method"].as_str()?, &event["params"]);
    let trouble = |kind, text: String| Some(Trouble { kind, text });
    match kind {
        "Runtime.consoleAPICalled" if ["error", "warning", "assert"].contains(&told["type"].as_str()?) => {
            trouble("console", told["args"].to_string())
        }
        "Runtime.exceptionThrown" => trouble("exception", told["exceptionDetails"].to_string()),
        "Log.entryAdded" if told["entry"]["level"] == "error" => trouble("log", told["entry"].to_string()),
        "Audits.issueAdded" if told["issue"]["code"] == "ContentSecurityPolicyIssue" => {
            trouble("policy", told["issue"]["details"].to_string())
        }
        "Network.requestWillBeSent" => {
            let url = told["request"]["url"].as_str()?;
            let allowed = url.starts_with(&format!("{origin}/")) || url.starts_with("data:") || url == "about:blank";
            if allowed { None } else { trouble("request", url.to_owned()) }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaches_are_told_from_what_a_page_may_do() {
        let origin = "http://127.0.0.1:1";
        let request =
            |url: &str| json!({ "method": "Network.requestWillBeSent", "params": { "request": { "url": url } } });
        assert_eq!(judged(&request("http://127.0.0.1:1/status"), origin), None);
        for elsewhere in ["http://127.0.0.1:10/status", "https://example.com/", "http://127.0.0.1:1.example.com/"] {
            assert_eq!(judged(&request(elsewhere), origin).map(|trouble| trouble.kind), Some("request"), "{elsewhere}");
        }
        let log = |level: &str| json!({ "method": "Log.entryAdded", "params": { "entry": { "level": level } } });
        assert_eq!(judged(&log("info"), origin), None);
        assert_eq!(judged(&log("error"), origin).map(|trouble| trouble.kind), Some("log"));
    }
}
