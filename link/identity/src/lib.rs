//! Keys, certificates, join tokens, root sets, and the rule that decides who a key is.
