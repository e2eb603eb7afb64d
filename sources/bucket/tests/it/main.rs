//! Buckets against a real S3 server, and against stand-ins of Google's and Azure's that speak their formats.

mod azure;
mod google;
mod ldap;
mod s3;
mod stage;
