//! Bodies, queries and path parts as types; what does not fit is a problem that names the remedy, like every other error.
//!
//! Handlers use these and never axum's own `Json`, `Query` and `Path`, whose refusals are plain text.

use axum::{
    body::Bytes,
    extract::{
        FromRequest, FromRequestParts, Request,
        rejection::{BytesRejection, FailedToBufferBody},
    },
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{App, problem::Problem};

/// A JSON body, with its bytes as they came.
pub(super) struct Body<T> {
    /// What it says.
    pub value: T,
    /// The bytes.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::MediaType);
        }
        let bytes =
            Bytes::from_request(request, app)
                .await
                .map_err(|rejection| match rejection {
                    BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                        Problem::TooLarge
                    }
                    _ => Problem::Invalid("the body broke off; send the request again".into()),
                })?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            Problem::Invalid(format!("the body: {}", unquoted(&error.to_string())))
        })?;
        Ok(Self { value, bytes })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The query of the request target.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| {
                Problem::Invalid(format!("the query: {}", unquoted(&rejection.body_text())))
            })
    }
}

/// The part of the path that names an object.
pub(super) struct Path(pub String);

impl FromRequestParts<App> for Path {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        axum::extract::Path::<String>::from_request_parts(parts, app)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::NotFound("the path holds what is no text".into()))
    }
}

/// What serde says of bad input, without the input: it may be a phone number or a token.
fn unquoted(said: &str) -> String {
    let cut = |open: &str, close: char| -> Option<String> {
        let (before, rest) = said.split_once(open)?;
        let end = match close {
            '"' => rest.rfind(close),
            _ => rest.find(close),
        }?;
        Some(format!("{before}{open}…{}", rest.get(end..)?))
    };
    cut("string \"", '"')
        .or_else(|| cut("unknown field `", '`'))
        .or_else(|| cut("unknown variant `", '`'))
        .or_else(|| cut("duplicate field `", '`'))
        .unwrap_or_else(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_repeated() {
        for (said, told) in [
            (
                r#"invalid type: string "+86\"138", expected i64 at line 1 column 36"#,
                r#"invalid type: string "…", expected i64 at line 1 column 36"#,
            ),
            (
                "unknown field `13800138000`, expected one of `a`, `b`",
                "unknown field `…`, expected one of `a`, `b`",
            ),
        ] {
            assert_eq!(unquoted(said), told);
        }
    }
}
