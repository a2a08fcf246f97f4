//! What the daemon does. It sees the world through [`ports`] and knows no transport: no gRPC, no SQL, no AWS.
//!
//! [`Broker::open`] puts the parts together; [`Broker::work`] is its background: journals, schedules, housekeeping. A part is
//! a file; what it is made of is in the folder of its name.

pub mod api;
pub mod background;
pub mod flights;
pub mod ports;
pub mod settings;

mod audit;
mod basis;
mod catalog;
mod claiming;
mod clients;
mod counting;
mod exporting;
mod fleet;
mod journals;
mod known;
mod logins;
mod matching;
mod members;
mod pools;
mod reconciling;
mod records;
mod revocations;
mod rotations;
mod telling;
mod tenants;
mod tokens;
mod trust;
mod verifier;
mod world;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use audit::Audit;
pub use basis::Basis;
pub use catalog::Catalog;
pub use clients::Clients;
pub use counting::Counting;
pub use exporting::Exporting;
pub use fleet::Fleet;
pub use logins::Logins;
pub use matching::Matching;
pub use reconciling::Reconciling;
pub use revocations::Revocations;
pub use rotations::Rotations;
pub use tenants::Tenants;
pub use tokens::Tokens;
pub use tokens::token_key::TokenKey;
pub use tokens::token_keys::TokenKeys;
pub use trust::Trust;
pub use verifier::Verifier;
pub use world::following::Hearing;
pub use world::{Ports, Shared, SharedTokens};

use crate::domain::error::Result;
use crate::domain::id::BrokerId;
use crate::domain::share::ShareTerms;
use background::Background;
use claiming::Claiming;
use clients::issuing::Issuing;
use journals::sweeping::Sweeping;
use journals::{Journals, Parts};
use members::Rounds;
use pools::Pools;
use rotations::rotator::Rotator;
use settings::Settings;
use telling::survey::Survey;
use tenants::moving::Moving;
use tenants::onboarding::Onboarding;
use tenants::providers::Providers;
use world::World;

pub struct Broker {
    pub tenants: Arc<Tenants>,
    pub clients: Arc<Clients>,
    pub rotations: Arc<Rotations>,
    pub fleet: Arc<Fleet>,
    pub tokens: Arc<Tokens>,
    pub verifier: Arc<Verifier>,
    pub trust: Arc<Trust>,
    pub logins: Arc<Logins>,
    pub matching: Arc<Matching>,
    pub revocations: Arc<Revocations>,
    pub catalog: Arc<Catalog>,
    pub audit: Arc<Audit>,
    pub reconciling: Arc<Reconciling>,
    pub exporting: Arc<Exporting>,
    pub counting: Arc<Counting>,
    claiming: Arc<Claiming>,
    survey: Survey,
    world: Arc<World>,
    pools: Arc<Pools>,
    journals: Arc<Journals>,
}

impl Broker {
    /// Reads one number from the registry and nothing else, however many tenants there are. `background` is where
    /// what the broker has under way runs.
    pub async fn open(ports: Ports, settings: Settings, background: Background) -> Result<Self> {
        let world = Arc::new(World::open(ports, settings).await?);
        let pools = Arc::new(Pools::new(world.clone(), background.clone()));
        let issuing = Arc::new(Issuing::new(world.clone(), pools.clone()));
        let claiming = Arc::new(Claiming::new(world.clone()));
        let providers = Arc::new(Providers::new(world.clone(), pools.clone()));
        let onboarding =
            Onboarding::new(world.clone(), pools.clone(), issuing.clone(), claiming.clone(), providers.clone());
        let onboarding = Arc::new(onboarding);
        let rotator = Arc::new(Rotator::new(world.clone(), pools.clone()));
        let sweeping = Arc::new(Sweeping::new(world.clone(), pools.clone()));
        let moving = Moving::new(world.clone(), pools.clone(), rotator.clone());
        let (rotating, providing) = (rotator.clone(), providers.clone());
        let parts = Parts { onboarding, issuing, rotator: rotating, sweeping, providers: providing, moving };
        let journals = Arc::new(Journals::new(world.clone(), parts, background.clone()));
        let verifier = Arc::new(Verifier::new(world.clone(), background.clone()));
        let rotations = Arc::new(Rotations::new(world.clone(), rotator.clone(), journals.clone()));
        let fleet = Fleet::new(world.clone(), rotator.clone(), rotations.clone(), journals.clone(), background.clone());
        Ok(Broker {
            tenants: Arc::new(Tenants::new(
                world.clone(),
                pools.clone(),
                journals.clone(),
                claiming.clone(),
                providers.clone(),
            )),
            clients: Arc::new(Clients::new(world.clone(), pools.clone(), journals.clone())),
            reconciling: Arc::new(Reconciling::new(
                world.clone(),
                pools.clone(),
                rotator,
                journals.clone(),
                claiming.clone(),
                providers,
            )),
            matching: Arc::new(Matching::new(world.clone())?),
            claiming,
            rotations,
            fleet: Arc::new(fleet),
            logins: Arc::new(Logins::new(world.clone(), background.clone())?),
            tokens: Arc::new(Tokens::new(world.clone(), background)),
            revocations: Arc::new(Revocations::new(world.clone(), verifier.clone())),
            trust: Arc::new(Trust::new(world.clone(), verifier.keys())),
            verifier,
            catalog: Arc::new(Catalog::new(world.clone(), pools.clone(), journals.clone())),
            audit: Arc::new(Audit::new(world.clone())),
            exporting: Arc::new(Exporting::new(world.clone())),
            counting: world.counting.clone(),
            survey: Survey::default(),
            pools,
            world,
            journals,
        })
    }

    /// Works off what is due, what a crash left included, until stopped.
    pub async fn work(&self, stop: CancellationToken) {
        // Placing and importing see to it by themselves; this is for those who only look.
        let adopt = async {
            let _ = self.pools.adopt().await;
            if let Err(error) = self.pools.begin_counts().await {
                tracing::warn!(%error, cause = error.internal_detail(), "user pools are not counted yet");
            }
        };
        let adopt = stop.run_until_cancelled(adopt);
        let follow = async {
            if let Some((following, last)) = &self.world.following {
                following.follow(&self.world, *last, stop.clone()).await;
            }
        };
        let keys = async {
            if let Some(tokens) = self.world.shared.as_ref().and_then(|shared| shared.tokens.as_ref()) {
                tokens.keys.follow(&*self.world.clock, stop.clone()).await;
            }
        };
        let trusted_keys = self.trust.keep_keys(stop.clone());
        let claims = self.claiming.work(stop.clone());
        let denials = self.audit.work(stop.clone());
        tokio::join!(adopt, follow, keys, trusted_keys, claims, denials, self.journals.clone().work(stop.clone()));
    }

    /// How it hears of what other brokers change; `None` where it alone has the registry.
    pub fn hearing(&self) -> Option<Hearing> {
        self.world.following.as_ref().map(|(following, _)| following.hearing(self.world.now()))
    }

    /// This broker's id among those that share the quotas, where there are others.
    pub fn member_id(&self) -> Option<&BrokerId> {
        self.world.shared.as_ref().map(|_| &self.world.broker)
    }

    /// Takes a broker out from among them whose process is known to be gone.
    pub async fn take_out(&self, gone: &BrokerId) -> Result<()> {
        match &self.world.shared {
            Some(shared) => Ok(shared.members.leave(gone).await?),
            None => Ok(()),
        }
    }

    /// Keeps this broker among those that share the quotas, where there are others, until `gone` is cancelled; then takes
    /// it out. That is to be after everything else has ended: from then on no call has its turn.
    pub async fn keep_membership(&self, gone: CancellationToken) {
        let Some(shared) = &self.world.shared else { return };
        let rounds = Rounds {
            members: shared.members.clone(),
            share: shared.share.clone(),
            clock: self.world.clock.clone(),
            terms: ShareTerms::default(),
            broker: self.world.broker.clone(),
        };
        rounds.keep(gone).await;
    }
}
