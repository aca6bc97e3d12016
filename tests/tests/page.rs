//! The status page in a real browser, on a real site: what it shows, that it notices, and that everybody can use it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::browser::{Browser, Page, View};
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{Site, SiteOptions, until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DESK: &str = "Front desk 1";
const GUEST: &str = "Zuleika Quixworth";
/// The page asks every 2 s, the link is found dead at once when it is cut, and the machine may be busy.
const SEEN: Duration = Duration::from_secs(40);

/// The browser; `None`, loudly, where there is none.
async fn browser() -> Result<Option<Browser>> {
    let Some(program) = Browser::program() else {
        skipped("no chromium; `apt-get install chromium`, or name it in LOCKBRIDGE_CHROMIUM");
        return Ok(None);
    };
    Ok(Some(Browser::start(&program).await?))
}

#[expect(clippy::print_stderr, reason = "what was not tested is said loudly")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: the status page was not tested in a browser: {why}");
}

/// A site whose bridge keeps its health address over restarts.
async fn site() -> Result<(Site, Directory)> {
    // An encoder that waits for a card says soon that none came.
    let simulator = ["--card-wait", "300"].map(str::to_owned).to_vec();
    let mut site = Site::open(SiteOptions { relay_lock_server: true, simulator, ..SiteOptions::default() }).await?;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let configuration = std::fs::read_to_string(site.configuration())?;
    let fixed = configuration.replace("address = \"127.0.0.1:0\"", &format!("address = \"{free}\""));
    assert_ne!(fixed, configuration, "the configuration has a health address");
    std::fs::write(site.configuration(), fixed)?;
    site.enroll().await?;
    site.start_bridge().await?;
    if let Some(relay) = &site.lock_server_link {
        relay.mend();
    }
    site.wait_for_inventory().await?;
    let directory = Directory::read(&site).await?;
    Ok((site, directory))
}

fn origin(site: &Site) -> String {
    format!("http://{}", site.health_address)
}

/// Keeps a picture for people, where `LOCKBRIDGE_SCREENSHOTS` says.
async fn keep(page: &mut Page, name: &str) -> Result<()> {
    match std::env::var_os("LOCKBRIDGE_SCREENSHOTS").map(PathBuf::from) {
        Some(folder) => {
            std::fs::create_dir_all(&folder)?;
            page.picture(&folder.join(format!("{name}.png"))).await
        }
        None => Ok(()),
    }
}

/// Waits until the page lists commands that begin so and stand so.
async fn wait_for_commands(page: &mut Page, wanted: &[(&str, &str)]) -> Result<()> {
    let rows = "[...document.querySelectorAll('#commands > li')].map((row) => \
        [row.querySelector('.what').innerText, row.querySelector('.state').innerText])";
    let page = tokio::sync::Mutex::new(page);
    until(&format!("{wanted:?} on the page"), SEEN, async || {
        let rows = page.lock().await.evaluate(rows).await.map_err(|error| format!("{error:#}"))?;
        let begins = |cell: &Value, word: &str| cell.as_str().is_some_and(|text| text.starts_with(word));
        let has = |(kind, state): &(&str, &str)| {
            rows.as_array().into_iter().flatten().any(|row| begins(&row[0], kind) && begins(&row[1], state))
        };
        if wanted.iter().all(has) { Ok(()) } else { Err(rows.to_string()) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_page_shows_the_site_tells_stories_and_notices_what_fails() -> Result<()> {
    let Some(browser) = browser().await? else { return Ok(()) };
    let (mut site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, GUEST, &["Main entrance"]).await?;
    let serial = guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");

    let mut page = browser.page(View::DESK).await?;
    page.go(&origin(&site)).await?;
    page.wait_for("#headline-text", "Everything works", SEEN).await?;
    page.wait_for("#hops", "Connected to localhost", SEEN).await?;
    page.wait_for("#live-text", "Live", SEEN).await?;
    assert_eq!(page.text("#workspace").await?, "Example");
    wait_for_commands(&mut page, &[("Write a grant", "done"), ("Write a card", "done")]).await?;

    // With the keyboard alone: the story of the card.
    page.evaluate("document.querySelector('#commands summary').focus()").await?;
    page.press("Enter", 13).await?;
    let story = page.wait_for("#commands details[open] .story", "The cloud has the report", SEEN).await?;
    for step in
        ["Received from the cloud", "then acknowledged to the cloud", "Begins at", "Done: the lock system confirmed it"]
    {
        assert!(story.contains(step), "{step:?} is not in {story:?}");
    }

    let pictures = page
        .evaluate(
            "[...document.querySelectorAll('#pictures svg')].map((it) => \
        [it.getAttribute('aria-label'), it.querySelectorAll('rect:not(.unknown)').length])",
        )
        .await?;
    let pictures = pictures.as_array().context("pictures")?;
    for name in ["Cloud link", "Lock system main", "Commands", "Time from"] {
        let found = pictures.iter().find(|it| it[0].as_str().is_some_and(|label| label.starts_with(name)));
        let found = found.with_context(|| format!("{name} is not among {pictures:?}"))?;
        assert!(found[1].as_u64() > Some(0), "nothing is drawn: {found}");
    }
    let whole = page.evaluate("document.documentElement.outerHTML").await?;
    let whole = whole.as_str().unwrap_or_default().to_uppercase();
    for private in ["QUIXWORTH", "ZULEIKA", serial.to_uppercase().as_str()] {
        assert!(!whole.contains(private), "{private} stands on the page");
    }
    keep(&mut page, "desk").await?;

    // The internet goes away, and comes back.
    site.link.cut();
    page.wait_for("#headline-text", "something needs a look", SEEN).await?;
    // Closed at once, on the way or in the handshake: both are told as the stretch in front of the cloud.
    let way = page.wait_for("#hops [data-hop=Internet]", "What to do:", SEEN).await?;
    assert!(way.contains("since"), "{way}");
    let told = page.wait_for("#announce", "needs a look", SEEN).await?;
    assert!(told.contains("Cloud"), "a screen reader hears {told:?}");
    keep(&mut page, "link-down").await?;
    site.link.mend();
    page.wait_for("#headline-text", "Everything works", SEEN).await?;

    // The lock server goes away: what is asked meanwhile waits in sight.
    let relay = site.lock_server_link.take().context("a relay")?;
    relay.cut();
    page.wait_for("#headline-text", "cannot serve", SEEN).await?;
    page.wait_for("#hops", "The lock server does not answer.", SEEN).await?;
    let asked = guest::grant(&site, &directory, "Grace Example", &["Main entrance"]).await?;
    page.wait_for("#queue", "waits for the lock system", SEEN).await?;
    keep(&mut page, "lock-server-down").await?;
    assert_eq!(page.trouble(&origin(&site)).await?, [], "errors, breaches or requests elsewhere");
    relay.mend();
    guest::ready_for_encoding(&site, &asked).await?;
    page.wait_for("#headline-text", "Everything works", SEEN).await?;
    page.wait_for("#queue", "Nothing waits.", SEEN).await?;
    site.lock_server_link = Some(relay);

    // The daemon itself: the page says so, and finds it again, with the stories from before.
    site.kill_bridge().await?;
    page.wait_for("#lost", "does not answer any more", SEEN).await?;
    assert_eq!(page.evaluate("document.title").await?, "No answer – Lockbridge");
    assert!(!page.text("#headline").await?.starts_with("Everything works"), "what is old is not claimed any more");
    keep(&mut page, "daemon-gone").await?;
    site.start_bridge().await?;
    page.wait_for("#announce", "answers again", SEEN).await?;
    assert_eq!(page.evaluate("document.getElementById('lost').hidden").await?, true);
    wait_for_commands(&mut page, &[("Write a grant", "done"), ("Write a card", "done")]).await
}

/// Whether anything is cut off or has to be scrolled sideways.
async fn assert_fits(page: &mut Page, what: &str) -> Result<()> {
    let widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]").await?;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{what} is {} wide in {}", widths[0], widths[1]);
    Ok(())
}

/// Finds what axe-core finds serious or critical.
async fn assert_accessible(page: &mut Page, axe: &str, what: &str) -> Result<()> {
    page.evaluate(&format!("{axe}; 0")).await?;
    let found = page
        .evaluate(
            "axe.run(document, { resultTypes: ['violations'] }).then((results) => ({ passes: results.passes.length, \
            violations: results.violations.map((it) => [it.impact, it.id, it.nodes.map((node) => node.html + ' ' + \
            node.failureSummary)]) }))",
        )
        .await?;
    assert!(found["passes"].as_u64() > Some(10), "axe-core looked at {found}");
    let serious: Vec<&Value> = found["violations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|violation| violation[0] == "serious" || violation[0] == "critical")
        .collect();
    assert!(serious.is_empty(), "{what}: {serious:#?}");
    Ok(())
}

fn axe() -> Option<String> {
    let named = std::env::var_os("LOCKBRIDGE_AXE").map(PathBuf::from);
    let usual = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/node_modules/axe-core/axe.min.js"));
    std::fs::read_to_string(named.unwrap_or(usual)).ok()
}

#[tokio::test]
async fn the_page_is_usable_by_day_at_night_on_a_phone_and_without_eyes() -> Result<()> {
    let Some(browser) = browser().await? else { return Ok(()) };
    let Some(axe) = axe() else {
        skipped("no axe-core; `npm install --prefix target/tools axe-core`, or name its file in LOCKBRIDGE_AXE");
        return Ok(());
    };
    let (site, directory) = site().await?;
    let grant = guest::ready_grant(&site, &directory, GUEST, &["Main entrance"]).await?;
    // No card lies there: a command that fails.
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "error", "{attempt}");
    let mut page = browser.page(View::DESK).await?;
    page.go(&origin(&site)).await?;
    wait_for_commands(&mut page, &[("Write a grant", "done"), ("Write a card", "failed")]).await?;
    page.wait_for("#headline-text", "Everything works", SEEN).await?;
    page.evaluate("for (const it of document.querySelectorAll('details')) it.open = true").await?;
    page.wait_for("#commands .story", "Received from the cloud", SEEN).await?;
    assert_eq!(page.trouble(&origin(&site)).await?, [], "errors, breaches or requests elsewhere");
    for (name, view) in [("light", View::DESK), ("dark", View::NIGHT), ("phone", View::PHONE)] {
        page.turn(view).await?;
        assert_fits(&mut page, name).await?;
        assert_accessible(&mut page, &axe, name).await?;
        keep(&mut page, name).await?;
    }
    // The same with everything wrong at once.
    site.link.cut();
    site.lock_server_link.as_ref().context("a relay")?.cut();
    page.wait_for("#headline-text", "cannot serve", SEEN).await?;
    page.wait_for("#hops [data-hop=Internet]", "What to do:", SEEN).await?;
    for (name, view) in [("wrong", View::DESK), ("wrong at night", View::NIGHT), ("wrong on a phone", View::PHONE)] {
        page.turn(view).await?;
        assert_fits(&mut page, name).await?;
        assert_accessible(&mut page, &axe, name).await?;
        keep(&mut page, name).await?;
    }
    Ok(())
}

/// One request to the health address, as any client may write it; the whole answer.
async fn raw(site: &Site, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(&site.health_address).await?;
    stream.write_all(format!("{request}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(SEEN, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn what_the_page_asks_for_is_told_to_this_machine_only_and_names_no_guest() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let grant = guest::ready_grant(&site, &directory, GUEST, &["Main entrance"]).await?;
    let serial = guest::put_blank(&site, DESK).await?;
    let attempt = guest::encode(&site, &directory, &grant, DESK).await?;
    assert_eq!(attempt["status"], "success", "{attempt}");
    for path in ["/", "/page/main.js", "/page/style.css", "/status", "/waiting", "/commands?after=0", "/history"] {
        let answer = raw(&site, &format!("GET {path} HTTP/1.1\r\nHost: localhost")).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        for line in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.lines().any(|it| it == line), "{path} lacks {line}: {head}");
        }
        for private in ["quixworth", "zuleika", serial.to_lowercase().as_str()] {
            assert!(!answer.to_lowercase().contains(private), "{path} tells {private}");
        }
        let answer = raw(&site, &format!("GET {path} HTTP/1.1\r\nHost: bridge.example.com")).await?;
        assert!(answer.starts_with("HTTP/1.1 421"), "{path}: {answer}");
        let answer = raw(&site, &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0")).await?;
        assert!(answer.starts_with("HTTP/1.1 405"), "{path}: {answer}");
    }
    let told = raw(&site, "GET /commands?after=0 HTTP/1.1\r\nHost: localhost").await?;
    assert!(told.contains("\"kind\":\"encode_credential\"") && told.contains("\"what\":\"sent\""), "{told}");
    Ok(())
}
