"""Labels and encoded pages as lazy arrays; knows no file format of the publisher."""
