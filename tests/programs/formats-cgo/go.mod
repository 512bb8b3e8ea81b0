module example.com/formatscgo

go 1.19
