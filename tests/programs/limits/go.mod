module limits

go 1.21
