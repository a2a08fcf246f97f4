//! `AuditService`: what was done, by whom, and what was denied.

use tonic::{Request, Response, Status};

use super::answer::Answers;
use super::decode::audit::{endless_filter, filter};
use super::decode::page::page;
use super::{Service, encode};
use crate::proto::audit_service_server::AuditService;
use crate::proto::{AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse, TailAuditEventsRequest};

#[tonic::async_trait]
impl AuditService for Service {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        self.0
            .answer(request, |front, _, mut message| async move {
                let (page, query) = page(&mut message)?;
                let filter = filter(message.filter)?;
                let listing = front.broker.audit.list(&filter, page).await?;
                Ok(ListAuditEventsResponse {
                    audit_events: listing.items.into_iter().map(encode::audit_event).collect(),
                    next_page_token: query.token(listing.next),
                })
            })
            .await
    }

    type TailAuditEventsStream = Answers<AuditEvent>;

    async fn tail_audit_events(
        &self,
        request: Request<TailAuditEventsRequest>,
    ) -> Result<Response<Self::TailAuditEventsStream>, Status> {
        let open = |_: &_, message: TailAuditEventsRequest| {
            let filter = endless_filter(message.filter)?;
            Ok(self.0.broker.audit.tail(message.after_sequence, filter))
        };
        self.0.stream(request, open, encode::audit_event).await
    }
}
