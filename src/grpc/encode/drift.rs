//! What a reconciliation found.

use crate::broker::api::Reconciled;
use crate::domain::drift::{Drift, DriftKind};
use crate::proto;

pub fn reconciled(found: Reconciled) -> proto::ReconcileTenantResponse {
    proto::ReconcileTenantResponse { drifts: found.drifts.into_iter().map(drift).collect(), truncated: found.truncated }
}

fn drift(drift: Drift) -> proto::Drift {
    let kind = match drift.kind {
        DriftKind::Orphan => proto::DriftKind::Orphan,
        DriftKind::Missing => proto::DriftKind::Missing,
        DriftKind::ChangedSetting => proto::DriftKind::ChangedSetting,
        DriftKind::ForeignSecret => proto::DriftKind::ForeignSecret,
        DriftKind::DeadSecret => proto::DriftKind::DeadSecret,
    };
    proto::Drift {
        kind: kind.into(),
        resource: drift.resource,
        external_id: drift.external_id,
        field: drift.field.to_owned(),
        detail: drift.detail,
        mended: drift.mended,
    }
}
