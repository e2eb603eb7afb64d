object a98e80a1ded69171dcd4e1b177a268eae7a8c753
type commit
tag v1
tagger Test <test@example.com> 1795280762 +0000

Tag by ed
-----BEGIN PGP SIGNATURE-----

iHUEABYIAB0WIQSYMJBMBz0Vdp8bJUtzVZ7knuVEcgUCawHPegAKCRBzVZ7knuVE
ctlyAQDdmtG/aSFDiDD37n81dtQ8vwcfWsqLOr/SkhgZEcmsaAEAw9HuM6Ujd8GA
xe/RIyQmxGPrOJloKdd/4BFb/G/iaAw=
=qJWm
-----END PGP SIGNATURE-----
