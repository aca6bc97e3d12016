//! One request from the first byte to the last: route, method, key, parameters, transaction, envelope.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::ApiState;
use super::conventions::{ApiError, Input, verbs};
use super::routes::{Handler, ROUTES, Route};
use crate::model::{Scope, Work};
use crate::store::workspaces::{self, API_KEY_PREFIX};

/// Largest request body: a space with a thousand entrances, with room to spare.
const BODY_BYTES: usize = 256 * 1024;
/// From the head of a request to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Answers any request.
pub(super) async fn serve(State(state): State<ApiState>, request: Request) -> Response {
    let request_id = uuid::Uuid::new_v4().to_string();
    let path = request.uri().path().to_owned();
    let (status, body, allow) = match route(&request) {
        Err((error, allow)) => (error.status, error.body(), allow),
        Ok(route) => match answer(&state, route, request).await {
            Ok(body) => (StatusCode::OK, body, None),
            Err(error) => (error.status, error.body(), None),
        },
    };
    tracing::debug!(%request_id, path, status = status.as_u16(), "Answered a request.");
    respond(status, &body, allow, &request_id)
}

fn route(request: &Request) -> Result<&'static Route, (ApiError, Option<String>)> {
    let path = request.uri().path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else {
        let shown: String = path.chars().take(100).collect();
        return Err((ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("there is no route {shown}")), None));
    };
    if !route.verbs.allow(request.method()) {
        let allowed = route.verbs.allowed();
        let message = format!("{path} does not take {}; use {allowed}", request.method());
        return Err((ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message), Some(allowed)));
    }
    Ok(route)
}

async fn answer(state: &ApiState, route: &'static Route, request: Request) -> Result<Value, ApiError> {
    let key = bearer(request.headers())?;
    let workspace = state.store.read(move |connection| workspaces::of_api_key(connection, &key)).await?;
    let workspace_id = workspace.ok_or_else(|| unauthorized("the API key is not known"))?;
    let mut input = input(request).await?;
    input.address = format!("{}{}", state.origin, route.path);
    let now_ms = (state.clock)();
    let mut body = match route.handler {
        Handler::Read(handler) => {
            let read = move |connection: &rusqlite::Connection| {
                handler(&Scope { connection, workspace_id: &workspace_id, now_ms }, &input)
            };
            state.store.read(read).await?
        }
        Handler::Write(handler) => {
            let authority = state.authority.clone();
            let write = move |transaction: &rusqlite::Transaction<'_>| {
                let work = Work::new(transaction, &authority, &workspace_id, now_ms);
                let body = handler(&work, &input)?;
                input.check()?;
                Ok::<_, ApiError>((body, work.into_woken()))
            };
            let (body, woken) = state.store.write(write).await?;
            for bridge_id in woken {
                state.link.wake(&bridge_id);
            }
            body
        }
    };
    if let Some(fields) = body.as_object_mut() {
        fields.insert("ok".to_owned(), json!(true));
    }
    Ok(body)
}

fn bearer(headers: &HeaderMap) -> Result<String, ApiError> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some((scheme, key)) = header.split_once(' ') else {
        return Err(unauthorized("the request needs the header `Authorization: Bearer <API key>`"));
    };
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || !key.starts_with(API_KEY_PREFIX) {
        return Err(unauthorized("the Authorization header must be `Bearer` and an API key that starts with seam_"));
    }
    Ok(key.to_owned())
}

fn unauthorized(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

async fn input(request: Request) -> Result<Input, ApiError> {
    if verbs::reads_query(request.method()) {
        return Ok(Input::from_query(request.uri().query().unwrap_or_default()));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_BYTES)).await;
    let body =
        body.map_err(|_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body did not arrive"))?;
    let body = body.map_err(|_| {
        let message = format!("the body could not be read, or exceeds {BODY_BYTES} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
    })?;
    Input::from_body(&body)
}

fn respond(status: StatusCode, body: &Value, allow: Option<String>, request_id: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("seam-request-id", value);
    }
    if let Some(Ok(value)) = allow.map(|allow| HeaderValue::from_str(&allow)) {
        headers.insert(ALLOW, value);
    }
    match status {
        StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))),
        _ => {}
    }
    response
}
