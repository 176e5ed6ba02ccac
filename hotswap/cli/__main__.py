from hotswap.cli import main

main()
