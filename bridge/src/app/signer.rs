//! The identity as a signer of reports and entries, for rooms that do not know identities.

use lockbridge_protocol::proto::journal::IdentityInUse;
use lockbridge_protocol::proto::tunnel::Signed;
use lockbridge_protocol::signed::report::SigningFailed;

use crate::dispatch::Credentials;
use crate::identity::Identity;
use crate::tunnel::ReportSigner;

#[derive(Debug)]
pub(super) struct AuditSigner(pub(super) Identity);

impl ReportSigner for AuditSigner {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        self.0.sign_report(report)
    }
}

impl Credentials for AuditSigner {
    fn sign(&self, report: Vec<u8>) -> Result<Signed, SigningFailed> {
        self.0.sign_report(report)
    }

    fn in_use(&self) -> IdentityInUse {
        self.0.in_use()
    }
}
