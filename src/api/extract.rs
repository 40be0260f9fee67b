//! Bodies and queries as handlers take them: what cannot be read is answered as a problem like everything else.

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request, rejection::BytesRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{App, problem::Problem};

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let bytes = RawBody::from_request(request, app).await?.0;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|e| Problem::Invalid(format!("the body: {e}")))
    }
}

/// The bytes of a body, up to the limit of the router.
pub struct RawBody(pub axum::body::Bytes);

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        axum::body::Bytes::from_request(request, app)
            .await
            .map(Self)
            .map_err(|error: BytesRejection| match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::TooLarge,
                _ => Problem::Invalid(format!("the body: {}", error.body_text())),
            })
    }
}

/// The parameters behind the `?`.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        Query::from_request_parts(parts, app)
            .await
            .map(|Query(parameters)| Self(parameters))
            .map_err(|error| Problem::Invalid(error.body_text()))
    }
}
