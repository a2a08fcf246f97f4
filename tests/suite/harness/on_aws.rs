//! Daemons and ports on the AWS backend.

use std::sync::Arc;

use keyward::aws::{Aws, Options};
use keyward::broker::Ports;
use keyward::broker::ports::Clock;
use keyward::config::{Backend, Config};
use keyward::runtime::clock::ManualClock;

use super::flowing::Flowing;
use super::rotations::eventually;
use super::{Daemon, start_time};
use crate::fake::Fake;

/// These ports with AWS in place of all but registry and clock.
pub fn over_aws(aws: &Aws, ports: Ports) -> Ports {
    Ports {
        user_pools: aws.user_pools(),
        token_endpoint: aws.token_endpoint(),
        key_source: aws.key_source(),
        shared: None,
        vault: aws.vault(),
        ..ports
    }
}

/// A daemon at rest on the strict fake, with the orders API. Waiting under quotas moves its clock.
pub struct AwsStage {
    pub daemon: Daemon,
    pub fake: Fake,
    pub clock: Arc<ManualClock>,
    aws: Aws,
}

impl AwsStage {
    pub async fn set() -> Self {
        AwsStage::set_with(|_| {}, |_| {}).await
    }

    pub async fn set_with(edit: impl FnOnce(&mut Config), tune: impl FnOnce(&mut Options)) -> Self {
        AwsStage::set_through(edit, tune, |ports| ports).await
    }

    /// With the daemon seeing AWS through `through`.
    pub async fn set_through(
        edit: impl FnOnce(&mut Config),
        tune: impl FnOnce(&mut Options),
        through: impl FnOnce(Ports) -> Ports,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(start_time()));
        let fake = Fake::start(clock.clone()).await;
        fake.enforce_quotas();
        let mut options = fake.options();
        tune(&mut options);
        let (region, regions) = (options.region.clone(), options.regions.clone());
        // As one that is served with `[aws]`: by these names of Regions the registry counts. What it asks is in its ports.
        let edit = |config: &mut Config| {
            config.backend = Backend::Aws;
            (config.aws.region, config.aws.regions) = (region, regions);
            edit(config);
        };
        let flowing: Arc<dyn Clock> = Arc::new(Flowing::new((*clock).clone()));
        let aws = Aws::connect(options, flowing).await.expect("connected");
        let daemon = Daemon::start_through(clock.clone(), edit, |ports| through(over_aws(&aws, ports))).await;
        daemon.put_orders_api().await;
        AwsStage { daemon, fake, clock, aws }
    }

    /// Returns when no call to AWS is under way. One that is given up when the clock moves on has another end than the one
    /// that AWS would have given it.
    pub async fn is_at_rest(&self) {
        eventually("calls to AWS have ended", async || self.aws.calls_under_way() == 0).await;
    }

    /// Stops it; no quota was overstepped and no model broken.
    pub async fn strike(self) {
        self.daemon.stop().await;
        assert_eq!(self.fake.throttled(), 0);
        assert_eq!(self.fake.complaints(), Vec::<String>::new());
    }
}
