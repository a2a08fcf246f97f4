//! What is to be exported for another program.

use std::collections::BTreeSet;

use super::{enumeration, one_or_all};
use crate::domain::authorizer::{Format, Route};
use crate::domain::error::{Error, Result};
use crate::domain::id::TenantId;
use crate::proto;

/// What is wanted.
#[derive(Debug)]
pub struct Export {
    /// `None` for all.
    pub tenant: Option<TenantId>,
    pub format: Format,
    /// Each once. None where one rule is for all.
    pub routes: Vec<Route>,
}

pub fn export(request: &proto::ExportAuthorizerRequest) -> Result<Export> {
    let tenant = one_or_all("name", &request.name)?;
    let format = match enumeration("format", request.format)? {
        proto::AuthorizerFormat::Unspecified => return Err(Error::invalid("format", "is required")),
        proto::AuthorizerFormat::ApiGateway => Format::ApiGateway,
        proto::AuthorizerFormat::Envoy => Format::Envoy,
        proto::AuthorizerFormat::Istio => Format::Istio,
    };
    let most = format.limits().routes;
    if request.routes.len() > most {
        return Err(Error::invalid("routes", format!("at most {most} for this format")));
    }
    let mut seen = BTreeSet::new();
    let mut routes = Vec::with_capacity(request.routes.len());
    for (at, route) in request.routes.iter().enumerate() {
        let read = Route::parse(format, &route.route, &route.scopes);
        routes.push(read.map_err(|error| error.within(&format!("routes[{at}]")))?);
        if !seen.insert(&route.route) {
            return Err(Error::invalid(format!("routes[{at}].route"), "is there twice"));
        }
    }
    Ok(Export { tenant, format, routes })
}
