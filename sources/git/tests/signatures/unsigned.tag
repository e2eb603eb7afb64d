object 2c6c4b3e8b1b8ca923bdc9211a44c2bcdfc15a07
type commit
tag v2
tagger Test <test@example.com> 1795280762 +0000

Not signed
