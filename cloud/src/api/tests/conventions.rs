use super::*;
use crate::api::routes::ROUTES;

async fn raw(hotel: &Hotel, method: &str, target: &str, body: &str) -> (u16, Value, Response<()>) {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    hotel.request(hotel.build(method, target, Body::from(body.to_owned()))).await
}

#[tokio::test]
async fn every_route_takes_post_and_its_own_verb_and_no_other() {
    let hotel = Hotel::empty().await;
    for route in ROUTES {
        let mut answers = Vec::new();
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let allowed = route.verbs.allow(&Method::from_bytes(method.as_bytes()).expect("a method"));
            let (status, body, response) = raw(&hotel, method, route.path, "").await;
            let is_refused = body["error"]["type"] == "method_not_allowed";
            assert_eq!(is_refused, !allowed, "{method} {}: {body}", route.path);
            assert_eq!(is_refused, status == 405);
            assert!(status == 200 || status == 400 || status == 405, "{method} {}: {body}", route.path);
            let headers = response.headers();
            assert!(headers.contains_key("seam-request-id"), "{method} {}", route.path);
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(headers.contains_key("allow"), is_refused);
            if allowed {
                answers.push((status, body));
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{}: both verbs answer alike", route.path);
        assert!(answers.len() <= 2, "{}", route.path);
    }
}

#[tokio::test]
async fn every_route_needs_a_known_key() {
    let mut hotel = Hotel::empty().await;
    for key in ["", "seam_unknown", "other_key", "seam_cst_session"] {
        key.clone_into(&mut hotel.key);
        for route in ROUTES {
            let (status, body, _) = raw(&hotel, "POST", route.path, "").await;
            assert_eq!((status, &body["error"]["type"]), (401, &json!("unauthorized")), "{key} {}", route.path);
        }
    }
}

#[tokio::test]
async fn unknown_routes_say_so() {
    let hotel = Hotel::empty().await;
    let (status, body, response) = raw(&hotel, "POST", "/acs/locks/list", "{}").await;
    assert_eq!((status, &body["error"]["type"], &body["ok"]), (404, &json!("not_found"), &json!(false)));
    assert!(response.headers().contains_key("seam-request-id"));
}

#[tokio::test]
async fn lists_come_repeated_with_brackets_or_with_commas() {
    let hotel = Hotel::open().await;
    let (a, b) = (hotel.door("101").await, hotel.door("102").await);
    let targets = [
        format!("acs_entrance_ids={a}&acs_entrance_ids={b}"),
        format!("acs_entrance_ids[]={a}&acs_entrance_ids[]={b}"),
        format!("acs_entrance_ids={a},{b}&unknown_parameter=1"),
    ];
    for query in targets {
        let doors = hotel.get(&format!("/acs/entrances/list?{query}")).await;
        assert_eq!(doors["acs_entrances"].as_array().map(Vec::len), Some(2), "{query}");
    }
    let doors = hotel.post("/acs/entrances/list", json!({"acs_entrance_ids": [a], "unknown_parameter": {}})).await;
    assert_eq!(doors["acs_entrances"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn pages_are_stable_while_rows_come_and_bound_to_their_filters() {
    let hotel = Hotel::empty().await;
    for number in 0..5 {
        hotel.post("/spaces/create", json!({"name": format!("Space {number}"), "customer_key": "c"})).await;
    }
    let mut names = Vec::new();
    let mut target = "/spaces/list?customer_key=c&limit=2".to_owned();
    loop {
        let page = hotel.get(&target).await;
        let spaces = page["spaces"].as_array().expect("spaces").clone();
        names.extend(spaces.iter().map(|space| text(&space["name"])));
        hotel.post("/spaces/create", json!({"name": "Late", "customer_key": "other"})).await;
        let pagination = &page["pagination"];
        assert_eq!(pagination["has_next_page"], !pagination["next_page_cursor"].is_null());
        let Some(url) = pagination["next_page_url"].as_str() else { break };
        target = url.strip_prefix("https://api.example.com").expect("our origin").to_owned();
    }
    assert_eq!(names, ["Space 0", "Space 1", "Space 2", "Space 3", "Space 4"]);

    let page = hotel.get("/spaces/list?customer_key=c&limit=2").await;
    let cursor = page["pagination"]["next_page_cursor"].clone();
    let (status, error) = hotel.refused("/spaces/list", json!({"page_cursor": cursor, "customer_key": "d"})).await;
    assert_eq!((status, &error["type"]), (400, &json!("invalid_input")));
    assert!(error["validation_errors"]["page_cursor"]["_errors"][0].is_string());
    for bad in ["", "x", "MTox", "!!"] {
        assert_eq!(hotel.refused("/spaces/list", json!({"page_cursor": bad})).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn the_other_workspace_sees_nothing() {
    let mut hotel = Hotel::open().await;
    let door = hotel.door("101").await;
    let key = hotel.store.write(|tx| {
        let other = workspaces::create(tx, START, "Other")?;
        Ok::<_, StoreError>(workspaces::create_api_key(tx, START, &other, "test")?.expose_secret().to_owned())
    });
    hotel.key = key.await.expect("writes");
    assert_eq!(hotel.get("/acs/entrances/list").await["acs_entrances"], json!([]));
    assert_eq!(hotel.get("/bridges/list").await["bridges"], json!([]));
    let (status, error) = hotel.refused("/acs/entrances/get", json!({"acs_entrance_id": door})).await;
    assert_eq!((status, &error["type"]), (404, &json!("acs_entrance_not_found")));
    let body = json!({"name": "Theirs", "acs_entrance_ids": [door]});
    assert_eq!(hotel.refused("/spaces/create", body).await.0, 404);
    assert_eq!(hotel.get("/spaces/list").await["spaces"], json!([]), "a refused write leaves nothing behind");
}
