//! The API through its real server: input that cannot be used, other people's things, verbs, pages, and local policy.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use lockbridge_tests::harness::guest::{self, Directory};
use lockbridge_tests::harness::{ApiError, Site, SiteOptions, until};
use serde_json::{Value, json};

const POLICY: &str = r#"
version = 1
[systems."*"]
allow = ["*"]
entrances = ["*"]
max_validity_days = 3
encodes_per_hour = 10
encodes_per_day = 10
encodes_per_room_per_day = 10
grants_per_hour = 1000
"#;

fn refusal(answer: Result<Value, ApiError>) -> Result<(u16, String, Value)> {
    match answer {
        Err(ApiError::Status { status, body, .. }) => {
            let kind = body["error"]["type"].as_str().unwrap_or_default().to_owned();
            Ok((status.as_u16(), kind, body["error"].clone()))
        }
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn input_that_cannot_be_used_is_refused_by_field_and_leaves_nothing_behind() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let good = json!({
        "user_identity": { "full_name": "Ada Example" },
        "acs_entrance_ids": [directory.entrance("Gym")?],
        "requested_access_methods": [{ "mode": "card" }],
    });
    let before = site.status().await?["engine"]["ended"].clone();
    let cases = [
        (json!({ "acs_entrance_ids": "Gym" }), 400, "invalid_input", "acs_entrance_ids"),
        (json!({ "starts_at": 7 }), 400, "invalid_input", "starts_at"),
        (json!({ "ends_at": "2020-01-01T00:00:00Z" }), 400, "invalid_input", "ends_at"),
        (
            json!({ "requested_access_methods": [{ "mode": "whistle" }] }),
            400,
            "invalid_input",
            "requested_access_methods",
        ),
        (json!({ "acs_entrance_ids": [uuid::Uuid::new_v4().to_string()] }), 404, "acs_entrance_not_found", ""),
    ];
    for (change, status, kind, field) in cases {
        let mut body = good.clone();
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let (told, told_kind, error) = refusal(site.api.post("/access_grants/create", body).await)?;
        assert_eq!((told, told_kind.as_str()), (status, kind), "{change}: {error}");
        assert!(field.is_empty() || error["validation_errors"][field].is_object(), "{change}: {error}");
    }
    let answer = site.api.get("/access_grants/list").await?;
    assert_eq!(answer["access_grants"], json!([]));
    assert_eq!(site.status().await?["engine"]["ended"], before, "nothing was sent to the bridge");

    // A card is written at an encoder, not at a door; and only when the lock server is ready for it.
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Gym"]).await?;
    let body = json!({ "access_method_id": grant.access_method_id, "acs_encoder_id": directory.entrance("Gym")? });
    let (status, kind, _) = refusal(site.api.post("/access_methods/encode", body).await)?;
    assert_eq!((status, kind.as_str()), (404, "acs_encoder_not_found"));
    Ok(())
}

#[tokio::test]
async fn another_workspace_sees_and_touches_nothing() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let directory = Directory::read(&site).await?;
    let grant = guest::ready_grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let other = site.cloud_command(&["workspace", "create"], &["--name", "Other"]).await?;
    let key = site.cloud_command(&["api-key", "create"], &["--workspace", &other]).await?;
    let theirs = site.api.with_bearer(&key);
    for (path, list) in [
        ("/bridges/list", "bridges"),
        ("/acs/systems/list", "acs_systems"),
        ("/acs/entrances/list", "acs_entrances"),
        ("/acs/users/unmanaged/list", "acs_users"),
        ("/access_grants/list", "access_grants"),
        ("/events/list?since=2020-01-01T00:00:00Z", "events"),
    ] {
        assert_eq!(theirs.get(path).await?[list], json!([]), "{path}");
        let ours = site.api.get(path).await?;
        assert!(ours[list].as_array().is_some_and(|ours| !ours.is_empty()), "{path}: {ours}");
    }
    let body = json!({ "access_grant_id": grant.access_grant_id });
    let (status, kind, _) = refusal(theirs.post("/access_grants/delete", body).await)?;
    assert_eq!((status, kind.as_str()), (404, "access_grant_not_found"));
    let body = json!({
        "user_identity": { "full_name": "Eve Example" },
        "acs_entrance_ids": [directory.entrance("Main entrance")?],
        "requested_access_methods": [{ "mode": "card" }],
    });
    let (status, kind, _) = refusal(theirs.post("/access_grants/create", body).await)?;
    assert_eq!((status, kind.as_str()), (404, "acs_entrance_not_found"));
    let body =
        json!({ "access_method_id": grant.access_method_id, "acs_encoder_id": directory.encoder("Front desk 1")? });
    let (status, kind, _) = refusal(theirs.post("/access_methods/encode", body).await)?;
    assert_eq!((status, kind.as_str()), (404, "access_method_not_found"));
    let (status, kind, _) = refusal(site.api.with_bearer("seam_invented").get("/acs/systems/list").await)?;
    assert_eq!((status, kind.as_str()), (401, "unauthorized"));
    guest::arrived(&site, &grant).await?;
    assert_eq!(guest::holders(&site, "Eve Example").await?, [Value::Null; 0]);
    Ok(())
}

#[tokio::test]
async fn both_verbs_answer_alike_unknown_parameters_pass_and_pages_are_whole() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let posted = site.api.post("/acs/entrances/list", json!({ "invented": true })).await?;
    assert_eq!(posted, site.api.get("/acs/entrances/list?invented=1").await?);
    let space = site.api.post("/spaces/create", json!({ "name": "Wing" })).await?;
    let id = space["space"]["space_id"].as_str().context("a space id")?.to_owned();
    let body = json!({ "space_id": id, "name": "North wing" });
    site.api.call(Method::PATCH, "/spaces/update", Some(body)).await?;
    assert_eq!(site.api.get(&format!("/spaces/get?space_id={id}")).await?["space"]["name"], "North wing");
    let (status, kind, _) =
        refusal(site.api.call(Method::DELETE, "/spaces/get", Some(json!({ "space_id": id }))).await)?;
    assert_eq!((status, kind.as_str()), (405, "method_not_allowed"));
    site.api.call(Method::DELETE, &format!("/spaces/delete?space_id={id}"), None).await?;

    for number in 0..7 {
        site.api.post("/spaces/create", json!({ "name": format!("Space {number}") })).await?;
    }
    let (mut names, mut pages, mut path) = (Vec::new(), 0, "/spaces/list?limit=3".to_owned());
    loop {
        let page = site.api.get(&path).await?;
        pages += 1;
        let spaces = page["spaces"].as_array().with_context(|| format!("no spaces in {page}"))?;
        names.extend(spaces.iter().map(|space| space["name"].as_str().unwrap_or_default().to_owned()));
        let Some(next) = page["pagination"]["next_page_url"].as_str() else { break };
        // The link must lead to this very server.
        let origin = format!("https://{}", site.api_address);
        next.strip_prefix(&origin).with_context(|| format!("{next} leads elsewhere"))?.clone_into(&mut path);
        anyhow::ensure!(pages < 9, "pages without end");
    }
    let wanted: Vec<String> = (0..7).map(|number| format!("Space {number}")).collect();
    assert_eq!((names, pages), (wanted, 3));
    Ok(())
}

#[tokio::test]
async fn what_the_local_policy_forbids_is_told_and_does_not_reach_the_lock_server() -> Result<()> {
    let site = Site::running(SiteOptions { policy: POLICY.to_owned(), ..SiteOptions::default() }).await?;
    let directory = Directory::read(&site).await?;
    // A week, where the site allows three days.
    let grant = guest::grant(&site, &directory, "Ada Example", &["Main entrance"]).await?;
    let body = json!({ "access_grant_id": grant.access_grant_id });
    let errors = until("the breach at the API", Duration::from_secs(15), async || {
        let answer = site.api.post("/access_grants/get", body.clone()).await.map_err(|error| error.to_string())?;
        let errors = &answer["access_grant"]["errors"];
        if errors.as_array().is_some_and(|errors| !errors.is_empty()) {
            Ok(errors.clone())
        } else {
            Err(answer.to_string())
        }
    })
    .await?;
    assert_eq!(errors[0]["error_code"], "failed_to_provision_access", "{errors}");
    assert!(errors[0]["reason_code"].as_str().is_some_and(|code| code.starts_with("policy:")), "{errors}");
    let method = guest::method(&site, &grant, "the method", |_| true).await?;
    assert_eq!(method["is_ready_for_encoding"], false, "{method}");
    let given = guest::holders(&site, "Ada Example").await?;
    let none = |rights: &Value| rights.as_array().is_none_or(Vec::is_empty);
    assert!(given.iter().all(|holder| none(&holder["doors"]) && none(&holder["groups"])), "{given:?}");

    let ends_at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let person = json!({ "user_identity": { "full_name": "Bob Example" }, "ends_at": ends_at.to_string() });
    let allowed = guest::grant_to(&site, &directory, "Bob Example", person, &["Main entrance"]).await?;
    guest::ready_for_encoding(&site, &allowed).await?;
    guest::arrived(&site, &allowed).await
}
