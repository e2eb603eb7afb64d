//! What every outward call needs: TLS with custom roots and client certificates, proxies, redaction of secrets.
