//! Tenants in both models, from onboarding to offboarding.
