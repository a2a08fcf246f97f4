//! Second factors of a pool's native accounts, as Cognito says them, in both directions.
//!
//! Cognito has them in operations of their own. `SetUserPoolMfaConfig` resets what it is not given, so what is not a setting
//! of ours (words of messages, their sender and Region, passkeys) is given as it was seen. Text messages need a role that may send them, and email
//! an identity of SES in the pool's own email configuration; both are the account's, so the broker's configuration says
//! them. Where it does not, such a factor is not offered.

use std::collections::BTreeSet;

use aws_sdk_cognitoidentityprovider::operation::get_user_pool_mfa_config::GetUserPoolMfaConfigOutput;
use aws_sdk_cognitoidentityprovider::operation::set_user_pool_mfa_config::builders::SetUserPoolMfaConfigFluentBuilder;
use aws_sdk_cognitoidentityprovider::types::{
    EmailConfigurationType, EmailMfaConfigType, EmailSendingAccountType, SmsConfigurationType, SmsMfaConfigType,
    SoftwareTokenMfaConfigType, UserPoolMfaType, UserPoolType,
};

use super::Messages;
use super::cognito::Cognito;
use super::faults::Asking;
use super::regions::Region;
use crate::broker::ports::PortResult;
use crate::domain::id::UserPoolId;
use crate::domain::tenant::{Mfa, MfaFactor, UserPoolSettings};

impl Cognito {
    /// Brings a pool's factors up to the settings, unless they are as they should be. What it had is by `DescribeUserPool`.
    pub(super) async fn put_factors(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: &UserPoolId,
        had: Mfa,
        had_sms: Option<&SmsConfigurationType>,
        settings: &UserPoolSettings,
    ) -> PortResult<()> {
        if had == Mfa::Off && settings.mfa == Mfa::Off {
            return Ok(());
        }
        let seen = self.factors(asking, region, user_pool).await?;
        // Nobody has to know which factors there were where there are to be none.
        if settings.mfa == had && settings.factors() == all_factors_of(&seen) {
            return Ok(());
        }
        let request = region.cognito.set_user_pool_mfa_config().user_pool_id(user_pool.as_str());
        let request = mfa_change(request, &seen, had_sms, settings, &self.messages);
        self.calls.make(asking, &region.name, Some(user_pool), request.send()).await?;
        Ok(())
    }

    pub(super) async fn factors(
        &self,
        asking: Asking,
        region: &Region,
        user_pool: &UserPoolId,
    ) -> PortResult<GetUserPoolMfaConfigOutput> {
        let request = region.cognito.get_user_pool_mfa_config().user_pool_id(user_pool.as_str());
        self.calls.make(asking, &region.name, Some(user_pool), request.send()).await
    }

    /// How email of a pool is sent, if its codes come by it.
    pub(super) fn email(
        &self,
        region: &Region,
        had: Option<&EmailConfigurationType>,
        settings: &UserPoolSettings,
    ) -> Option<EmailConfigurationType> {
        let identity = Some(&self.messages.email_identity).filter(|identity| !identity.is_empty())?;
        let identity = identity.replace("{region}", &region.name);
        settings.factors().contains(&MfaFactor::Email).then(|| email_of(had, identity))
    }
}

/// As it was, but from this identity. A sender is one of its identity, so that of another does not stay.
pub(super) fn email_of(had: Option<&EmailConfigurationType>, identity: String) -> EmailConfigurationType {
    let mut email = had.cloned().unwrap_or_else(|| EmailConfigurationType::builder().build());
    if email.source_arn.as_ref() != Some(&identity) {
        email.from = None;
    }
    email.email_sending_account = Some(EmailSendingAccountType::Developer);
    email.source_arn = Some(identity);
    email
}

impl Messages {
    /// Why a pool cannot have this factor; `None` where it can.
    pub(super) fn lacks(&self, factor: MfaFactor) -> Option<&'static str> {
        match factor {
            MfaFactor::Sms if self.sms_role.is_empty() => {
                Some("MFA_FACTOR_SMS needs a role by which Cognito sends text messages: aws.sms_role of the broker")
            }
            MfaFactor::Email if self.email_identity.is_empty() => Some(
                "MFA_FACTOR_EMAIL needs an identity of SES that email comes from: aws.email_identity of the broker",
            ),
            MfaFactor::Totp | MfaFactor::Sms | MfaFactor::Email => None,
        }
    }
}

/// A factor that is to be turned off is not given: with `OFF` none may be. `had_sms` is how the pool sends text messages.
pub(super) fn mfa_change(
    request: SetUserPoolMfaConfigFluentBuilder,
    seen: &GetUserPoolMfaConfigOutput,
    had_sms: Option<&SmsConfigurationType>,
    settings: &UserPoolSettings,
    messages: &Messages,
) -> SetUserPoolMfaConfigFluentBuilder {
    let mode = match settings.mfa {
        Mfa::Off => UserPoolMfaType::Off,
        Mfa::Optional => UserPoolMfaType::Optional,
        Mfa::On => UserPoolMfaType::On,
    };
    let mut request = request.mfa_configuration(mode).set_web_authn_configuration(seen.web_authn_configuration.clone());
    for factor in settings.factors() {
        request = match factor {
            MfaFactor::Totp => {
                request.software_token_mfa_configuration(SoftwareTokenMfaConfigType::builder().enabled(true).build())
            }
            MfaFactor::Sms => {
                let had = seen.sms_mfa_configuration();
                let words = had.and_then(SmsMfaConfigType::sms_authentication_message).map(str::to_owned);
                let sending = sms_of(had.and_then(SmsMfaConfigType::sms_configuration).or(had_sms), messages);
                let sms = SmsMfaConfigType::builder().set_sms_authentication_message(words).sms_configuration(sending);
                request.sms_mfa_configuration(sms.build())
            }
            MfaFactor::Email => {
                let had = seen.email_mfa_configuration().cloned();
                request.email_mfa_configuration(had.unwrap_or_else(|| EmailMfaConfigType::builder().build()))
            }
        };
    }
    request
}

/// As it was, but by the account's role.
fn sms_of(had: Option<&SmsConfigurationType>, messages: &Messages) -> SmsConfigurationType {
    let role = SmsConfigurationType::builder().sns_caller_arn(&messages.sms_role);
    let external_id = Some(&messages.sms_external_id).filter(|id| !id.is_empty()).cloned();
    role.set_external_id(external_id.or_else(|| had.and_then(SmsConfigurationType::external_id).map(str::to_owned)))
        .set_sns_region(had.and_then(SmsConfigurationType::sns_region).map(str::to_owned))
        .build()
}

pub(super) fn mfa_of(seen: &UserPoolType) -> Mfa {
    match seen.mfa_configuration() {
        Some(UserPoolMfaType::On) => Mfa::On,
        Some(UserPoolMfaType::Optional) => Mfa::Optional,
        _ => Mfa::Off,
    }
}

/// As a tenant says it: time-based codes alone are not said.
pub(super) fn factors_of(seen: &GetUserPoolMfaConfigOutput) -> BTreeSet<MfaFactor> {
    let factors = all_factors_of(seen);
    if factors == BTreeSet::from([MfaFactor::Totp]) { BTreeSet::new() } else { factors }
}

fn all_factors_of(seen: &GetUserPoolMfaConfigOutput) -> BTreeSet<MfaFactor> {
    if matches!(seen.mfa_configuration(), None | Some(UserPoolMfaType::Off)) {
        return BTreeSet::new();
    }
    let has_totp = seen.software_token_mfa_configuration().is_some_and(SoftwareTokenMfaConfigType::enabled);
    let there = [
        (MfaFactor::Totp, has_totp),
        (MfaFactor::Sms, seen.sms_mfa_configuration().is_some()),
        (MfaFactor::Email, seen.email_mfa_configuration().is_some()),
    ];
    there.into_iter().filter(|(_, is_there)| *is_there).map(|(factor, _)| factor).collect()
}
