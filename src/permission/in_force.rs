//! A set of policies that was found good: what it decides, and why.

use std::path::Path;
use std::sync::Arc;

use cedar_policy::{Authorizer, Decision, PolicyId, PolicySet, Response, ValidationMode, Validator};

use super::decisions::Decisions;
use super::policies::{Document, PolicyError};
use super::question::Vocabulary;
use crate::domain::caller::{Ask, Known};
use crate::domain::error::{Error, Reason, Result};

/// The most policies that may be in force.
const MAX_POLICIES: usize = 1_000;

/// Policies in force, and what was decided by them.
pub struct InForce {
    vocabulary: Arc<Vocabulary>,
    policies: PolicySet,
    decisions: Decisions,
    reads_labels: bool,
    reads_context: bool,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub permitted: bool,
    /// Those that decided it: those that permit, or those that forbid. None where nothing permits.
    pub policies: Vec<Determining>,
    /// Policies that could not be evaluated, which denies whatever the others say.
    pub errors: Vec<String>,
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Determining {
    /// File and line, such as `/etc/keyward/policies/acme.cedar:12`; `built-in` stands for the policies of the program.
    pub place: String,
    /// Its annotation `@id`.
    pub id: Option<String>,
    /// Its annotation `@description`.
    pub description: Option<String>,
}

impl InForce {
    /// Takes policies that are valid by the schema, and no others: also what can never apply and what only looks like
    /// something else is refused.
    pub fn new(vocabulary: Arc<Vocabulary>, documents: &[Document]) -> Result<Self, PolicyError> {
        let mut policies = PolicySet::new();
        for document in documents {
            for policy in document.policies()? {
                let refused = |error: cedar_policy::PolicySetError| document.wrong(&error);
                policies.add(policy).map_err(refused)?;
            }
        }
        let count = policies.num_of_policies();
        if !(1..=MAX_POLICIES).contains(&count) {
            let file = documents.last().map_or(Path::new(""), |document| &document.name).to_owned();
            let problem = format!("there must be 1 to {MAX_POLICIES} policies, and there are {count}");
            return Err(PolicyError { file, line: None, problem });
        }
        check(&vocabulary, &policies, documents)?;
        // Nothing reads a label but by these two, nor the call but by `context`: see the grammar of Cedar. Where the words
        // are in a comment, a little more is looked up than would be needed.
        let mentions = |words: &[&str]| documents.iter().any(|d| words.iter().any(|word| d.text.contains(word)));
        let (reads_labels, reads_context) = (mentions(&["hasTag", "getTag"]), mentions(&["context"]));
        Ok(InForce { vocabulary, policies, decisions: Decisions::new(reads_context), reads_labels, reads_context })
    }

    /// How many policies there are.
    pub fn count(&self) -> usize {
        self.policies.num_of_policies()
    }

    /// Whether there is an action of this name.
    pub fn knows(&self, action: &str) -> bool {
        self.vocabulary.knows(action)
    }

    /// Whether a decision may depend on labels, which then have to be known.
    pub fn reads_labels(&self) -> bool {
        self.reads_labels
    }

    /// Fails with PERMISSION_DENIED, in the same words whether or not the target exists.
    pub fn decide(&self, ask: &Ask<'_>, known: &Known) -> Result<()> {
        let permitted = self.decisions.find(ask, known).unwrap_or_else(|| {
            let explanation = self.explain(ask, known);
            for error in &explanation.errors {
                tracing::error!(error, action = ask.action, "a policy cannot be evaluated, so the call is denied");
            }
            self.decisions.keep(ask, known, explanation.permitted);
            explanation.permitted
        });
        if permitted { Ok(()) } else { Err(denied()) }
    }

    /// The decision, made anew, and what made it.
    pub fn explain(&self, ask: &Ask<'_>, known: &Known) -> Explanation {
        let (request, entities) = match self.vocabulary.put(ask, known, self.reads_context) {
            Ok(put) => put,
            // Fails closed: what cannot be asked is not permitted.
            Err(fault) => {
                return Explanation { permitted: false, policies: Vec::new(), errors: vec![fault.to_string()] };
            }
        };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        self.explanation(&response)
    }

    fn explanation(&self, response: &Response) -> Explanation {
        let errors: Vec<_> = response.diagnostics().errors().map(ToString::to_string).collect();
        let mut policies: Vec<_> = response.diagnostics().reason().map(|id| self.determining(id)).collect();
        policies.sort_by(|one, other| one.place.cmp(&other.place));
        // Cedar leaves out a policy that it cannot evaluate. It might be one that forbids.
        let permitted = response.decision() == Decision::Allow && errors.is_empty();
        Explanation { permitted, policies, errors }
    }

    fn determining(&self, id: &PolicyId) -> Determining {
        let annotation = |key| self.policies.annotation(id, key).map(str::to_owned);
        Determining { place: id.to_string(), id: annotation("id"), description: annotation("description") }
    }
}

fn check(vocabulary: &Vocabulary, policies: &PolicySet, documents: &[Document]) -> Result<(), PolicyError> {
    let result = Validator::new(vocabulary.schema.clone()).validate(policies, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| (error.policy_id(), error as &dyn miette::Diagnostic));
    let warnings =
        result.validation_warnings().map(|warning| (warning.policy_id(), warning as &dyn miette::Diagnostic));
    match errors.chain(warnings).next() {
        None => Ok(()),
        Some((id, problem)) => match documents.iter().find(|document| document.holds(id)) {
            Some(document) => Err(document.wrong(problem)),
            None => Err(PolicyError { file: id.to_string().into(), line: None, problem: problem.to_string() }),
        },
    }
}

fn denied() -> Error {
    Error::new(Reason::PermissionDenied, "the caller may not do this, or there is nothing that it may do it to")
}
