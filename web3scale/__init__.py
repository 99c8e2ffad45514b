"""The code of the book *Web3 Scalability*: one subpackage a chapter, named as the chapter is."""
