//! What the API says when it cannot do something: RFC 9457 problem details that name the remedy.
//!
//! One enum maps to a status. Internals are logged with their sources, never sent.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error (RFC 9457 section 3), `application/problem+json`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProblemBody {
    /// A stable name of the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What happened here, and what to do.
    pub detail: String,
    /// Why the gate refused a call, every reason; absent for other problems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<ReasonBody>,
    /// The stored receipt of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

/// One reason of a refusal by the gate.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReasonBody {
    /// Stable code.
    pub code: String,
    /// In English.
    pub text: String,
    /// 中文.
    pub text_zh: String,
    /// The clause it comes from.
    pub clause: String,
}

/// Everything a handler can fail with.
#[derive(Debug)]
pub enum Problem {
    /// No token, or one that is not valid.
    Unauthenticated,
    /// The token is valid but may not do this.
    Forbidden(String),
    /// There is no such thing, or not for this user.
    NotFound(String),
    /// The request is malformed.
    Invalid(String),
    /// The path exists, for other methods.
    MethodNotAllowed,
    /// The body is beyond the limit.
    TooLarge,
    /// The body is not JSON.
    MediaType,
    /// It is well formed, and cannot be served.
    Unprocessable(String),
    /// It contradicts the present state: agent busy, key used for another request.
    Conflict(String),
    /// The gate refused the call.
    Refused {
        /// Every reason.
        reasons: Vec<ReasonBody>,
        /// Id of the stored receipt.
        receipt: String,
    },
    /// Temporarily impossible: draining, vault full, trunk down, database away.
    Unavailable(String),
    /// The part of a file that was asked for does not exist.
    RangeNotSatisfiable {
        /// Length of the file in bytes.
        length: u64,
    },
    /// Our fault; the source is logged.
    Internal(anyhow::Error),
}

impl Problem {
    /// There is none, or its client is not the caller's: which of the two is not told.
    pub(super) fn absent(what: &str) -> Self {
        Self::NotFound(format!(
            "there is no such {what} among the cases of your clients; check its id, or use an account that sees its client"
        ))
    }

    /// Nobody works under that id.
    pub(super) fn agent_absent() -> Self {
        Self::NotFound(
            "there is no such agent, or it has left; `GET /api/v1/agents` lists those who are there".into(),
        )
    }

    fn body(&self) -> ProblemBody {
        let (status, kind, title, detail) = match self {
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Who are you?",
                "send Authorization: Bearer TOKEN with a token from `ringfence users add`".to_owned(),
            ),
            Self::Forbidden(d) => (StatusCode::FORBIDDEN, "forbidden", "Not with this role", d.clone()),
            Self::NotFound(d) => (StatusCode::NOT_FOUND, "not-found", "Not found", d.clone()),
            Self::Invalid(d) => (StatusCode::BAD_REQUEST, "invalid", "The request is not valid", d.clone()),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Not with this method",
                "this path does not know that method; the Allow header lists those it knows".to_owned(),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
                format!("a body has at most {} bytes", super::MAX_BODY),
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "Not in this form",
                "send JSON and say so: Content-Type: application/json".to_owned(),
            ),
            Self::Unprocessable(d) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", "This cannot be served", d.clone())
            }
            Self::Conflict(d) => (StatusCode::CONFLICT, "conflict", "Not in this state", d.clone()),
            Self::Refused { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "refused",
                "The rules do not allow this call now",
                "no call was placed; the reasons say why and the receipt proves it".to_owned(),
            ),
            Self::Unavailable(d) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not possible at the moment", d.clone())
            }
            Self::RangeNotSatisfiable { length } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range-not-satisfiable",
                "No such part",
                format!("the recording has {length} bytes; ask for bytes=0-{}", length.saturating_sub(1)),
            ),
            Self::Internal(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Our fault",
                "the cause is in the daemon's log; try again, and tell the administrator if it stays".to_owned(),
            ),
        };
        let (reasons, receipt) = match self {
            Self::Refused { reasons, receipt } => (reasons.clone(), Some(receipt.clone())),
            _ => (Vec::new(), None),
        };
        ProblemBody {
            kind: format!("urn:ringfence:problem:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            reasons,
            receipt,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Self::Internal(error) = &self {
            tracing::error!(
                error = format!("{error:#}"),
                "a request failed through our fault"
            );
        }
        let body = self.body();
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self {
            Self::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Unavailable(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::RangeNotSatisfiable { length } => {
                if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            _ => {}
        }
        response
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    async fn answer(problem: Problem) -> (Response, serde_json::Value) {
        let response = problem.into_response();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
        let json = serde_json::from_slice(&bytes).unwrap();
        (Response::from_parts(parts, axum::body::Body::empty()), json)
    }

    #[tokio::test]
    async fn every_problem_repeats_its_status_and_names_its_kind() {
        let problems = [
            Problem::Unauthenticated,
            Problem::Forbidden("ask".into()),
            Problem::NotFound("none".into()),
            Problem::Invalid("bad".into()),
            Problem::MethodNotAllowed,
            Problem::TooLarge,
            Problem::MediaType,
            Problem::Unprocessable("no codec".into()),
            Problem::Conflict("busy".into()),
            Problem::Unavailable("draining".into()),
            Problem::RangeNotSatisfiable { length: 44 },
            Problem::Internal(anyhow::anyhow!("secret")),
        ];
        let mut kinds = std::collections::HashSet::new();
        for problem in problems {
            let (response, json) = answer(problem).await;
            assert_eq!(json["status"], response.status().as_u16(), "{json}");
            assert!(response.status().as_u16() >= 400);
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json");
            assert!(!json["detail"].as_str().unwrap().is_empty(), "{json}");
            assert!(json.get("reasons").is_none() && json.get("receipt").is_none());
            let kind = json["type"].as_str().unwrap().to_owned();
            assert!(kind.starts_with("urn:ringfence:problem:") && kinds.insert(kind));
        }
    }

    #[tokio::test]
    async fn the_cause_of_our_own_fault_is_never_sent() {
        let (_, json) = answer(Problem::Internal(anyhow::anyhow!("secret"))).await;
        assert!(!json.to_string().contains("secret"), "{json}");
    }

    #[tokio::test]
    async fn a_refusal_carries_every_reason_and_its_receipt() {
        let reason = |code: &str| ReasonBody {
            code: code.into(),
            text: String::new(),
            text_zh: String::new(),
            clause: String::new(),
        };
        let (response, json) = answer(Problem::Refused {
            reasons: vec![reason("window"), reason("holiday")],
            receipt: "r1".into(),
        })
        .await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(json["reasons"][1]["code"], "holiday");
        assert_eq!(json["receipt"], "r1");
    }

    #[tokio::test]
    async fn headers_say_when_to_come_back_and_how_long_the_file_is() {
        let (response, _) = answer(Problem::Unavailable(String::new())).await;
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        let (response, _) = answer(Problem::RangeNotSatisfiable { length: 44 }).await;
        assert_eq!(response.headers()[header::CONTENT_RANGE], "bytes */44");
        let (response, _) = answer(Problem::Unauthenticated).await;
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
