"""Data modules: text at character level, tables, molecules, and synthetic tasks whose law is known exactly."""

from ordo.data.bayes_net import BayesNet
from ordo.data.codec import TableCodec
from ordo.data.corpus import CorpusData
from ordo.data.errors import ChecksumError, DataError, MissingDataError
from ordo.data.law import Law
from ordo.data.loader import StepBatchSampler, StepSampler
from ordo.data.module import Batch, Rows, SequenceData
from ordo.data.processes import BinaryTree, EvenParity, IndependentTokens, MarkovChain
from ordo.data.smiles import SmilesData, tokenise
from ordo.data.star_graph import StarGraph
from ordo.data.sudoku import SudokuData
from ordo.data.table import TableData
from ordo.data.table_sets import TABLE_SETS
from ordo.data.task_data import TaskData
from ordo.data.tasks import Addition, ModularSums, NotAllEqual
from ordo.data.text import TextData
from ordo.data.two_orders import TwoOrders
from ordo.data.two_ways import TwoWays
from ordo.data.vocabulary import TEXT8_ALPHABET, Vocabulary, normalise

__all__ = [
    "TABLE_SETS",
    "TEXT8_ALPHABET",
    "Addition",
    "Batch",
    "BayesNet",
    "BinaryTree",
    "ChecksumError",
    "CorpusData",
    "DataError",
    "EvenParity",
    "IndependentTokens",
    "Law",
    "MarkovChain",
    "MissingDataError",
    "ModularSums",
    "NotAllEqual",
    "Rows",
    "SequenceData",
    "SmilesData",
    "StarGraph",
    "StepBatchSampler",
    "StepSampler",
    "SudokuData",
    "TableCodec",
    "TableData",
    "TaskData",
    "TextData",
    "TwoOrders",
    "TwoWays",
    "Vocabulary",
    "normalise",
    "tokenise",
]
