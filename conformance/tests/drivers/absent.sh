# Never gets ready.
exit 3
